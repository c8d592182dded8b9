#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""BalloonController, with the embedded guest's driver at the other end."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

OK, INTERNAL, NOT_SUPPORTED, TIMED_OUT = 0, 1, 2, 9
MIB_PAGES = 256
MEMORY = 128 << 20


def config(**more):
    return {"virtio_balloon": 1, "guest_memory": MEMORY, **more}


class Balloon(daemon.Case):
    def start(self, command=None):
        """A guest whose shell has been given a command: (lifecycle, balloon, serial)."""
        lifecycle, _, guest = self.running(**config())
        serial = self.shell(guest)
        if command:
            serial.send(command)
        return lifecycle, guest.balloon(), serial

    def serving(self):
        lifecycle, balloon, serial = self.start("balloon serve")
        serial.expect(b"balloon serves")
        return lifecycle, balloon, serial

    def resident(self):
        return self.client.get_info("web")["resident_bytes"]

    def falls_to(self, bytes_most):
        """The last part of what a guest gives may be on its way when the guest is answered."""
        self.until(lambda: self.resident() <= bytes_most)

    def reach(self, balloon, pages):
        balloon.request(pages)
        self.until(lambda: balloon.size() == (pages, pages))

    def test_the_device_is_listed(self):
        self.start()
        self.assertEqual(self.client.get_info("web")["devices"], ["virtio-balloon"])

    def test_requested_pages_are_given_and_taken_back(self):
        _, balloon, serial = self.serving()
        self.assertEqual(balloon.size(), (0, 0))
        self.reach(balloon, 40 * MIB_PAGES)
        self.reach(balloon, 10 * MIB_PAGES)
        self.reach(balloon, 0)
        self.assertIn(b"VERDICT balloon ok", serial.expect(daemon.PROMPT))

    def test_the_host_gets_the_memory(self):
        """Resident sizes, of the guest and of the daemon, rise and fall with what the guest uses."""
        _, balloon, serial = self.start()
        pages = 64 * MIB_PAGES
        before, rss = self.resident(), self.daemon.status("RssShmem")
        out = serial.command(f"balloon inflate {pages} mixed")
        self.assertIn(b"VERDICT balloon ok", out)
        self.falls_to(before + (1 << 20))
        self.assertLess(self.daemon.status("RssShmem") - rss, 2 << 10)
        self.assertEqual(balloon.size(), (pages, 0))
        out = serial.command(f"balloon deflate {pages}")  # it writes to each of them
        self.assertIn(b"VERDICT balloon ok", out)
        full = self.resident()
        self.assertGreaterEqual(full - before, pages * 4096)
        for order in "up", "down":
            out = serial.command(f"balloon inflate {pages} {order}")
            self.assertIn(b"VERDICT balloon ok", out)
            self.falls_to(full - pages * 4096 * 99 // 100)
            self.assertIn(b"VERDICT balloon ok", serial.command(f"balloon deflate {pages}"))
        serial.command(f"balloon inflate {pages}")
        self.assertIn(b"VERDICT balloon ok", serial.command("balloon stop"))

    def test_a_guest_that_does_not_say_when_it_takes_pages_back(self):
        """Without MUST_TELL_HOST the memory is gone when the guest is answered."""
        _, _, serial = self.start()
        pages = 16 * MIB_PAGES
        for ring in "split", "packed":
            before = self.resident()
            out = serial.command(f"balloon inflate {pages} untold {ring}")
            self.assertIn(b"VERDICT balloon ok", out)
            self.assertLess(self.resident() - before, 1 << 20)
            self.assertIn(b"VERDICT balloon ok", serial.command(f"balloon deflate {pages}"))
            self.assertIn(b"VERDICT balloon ok", serial.command("balloon stop"))
            # What the guest has filled since is given once more.
            self.assertIn(b"VERDICT balloon ok",
                          serial.command(f"balloon inflate {pages} as-is untold {ring}"))
            self.assertLess(self.resident() - before, 1 << 20)
            self.assertIn(b"VERDICT balloon ok", serial.command("balloon stop"))

    def test_free_page_reporting(self):
        _, _, serial = self.start()
        for ring in "split", "packed", "split indirect":
            before = self.resident()
            out = serial.command(f"balloon report {32 * MIB_PAGES} {ring}")
            self.assertIn(b"VERDICT balloon ok", out)
            self.assertLess(self.resident() - before, 2 << 20)
            self.assertIn(b"VERDICT balloon ok", serial.command("balloon stop"))

    def test_more_than_all_is_clamped(self):
        _, balloon, _ = self.start()
        balloon.request(0xffffffff)
        self.assertEqual(balloon.size(), (0, MEMORY // 4096))

    def test_a_request_before_run_is_seen_by_the_guest(self):
        lifecycle = self.client.open_lifecycle("web")
        lifecycle.create(wire.builtin(**config()))
        guest = lifecycle.bind()
        balloon = guest.balloon()
        balloon.request(1000)
        lifecycle.run()
        serial = self.shell(guest)
        serial.send("balloon serve")
        self.until(lambda: balloon.size() == (1000, 1000))

    def test_statistics(self):
        _, balloon, _ = self.serving()
        status, stats = balloon.stats()
        self.assertEqual(status, OK)
        self.assertEqual(set(stats), {4, 5, 0xbeef})
        self.assertLess(stats[4], stats[5])
        self.assertLessEqual(stats[5], MEMORY)
        self.reach(balloon, 20 * MIB_PAGES)
        _, later = balloon.stats()
        self.assertLessEqual(later[4], stats[4] - (20 << 20))

    def test_concurrent_statistics_come_in_order(self):
        _, balloon, _ = self.serving()
        other = self.daemon.client().connect("web").balloon()
        calls = [balloon.client.start(balloon.obj, wire.GET_MEM_STATS) for _ in range(20)]
        self.assertEqual(other.stats()[0], OK)
        answers = []
        for call in calls:
            reader = balloon.client.wait(call).reader()
            self.assertEqual(reader.i32(), OK)
            reader.zeros(4)
            values = dict(reader.vector(lambda r: (r.u16(), r.zeros(6), r.u64())[::2]))
            answers.append(values[0xbeef])
        self.assertEqual(answers, sorted(set(answers)), "each asked the guest anew, in turn")

    def test_no_driver_no_statistics(self):
        _, balloon, _ = self.start()
        self.assertEqual(balloon.stats(), (NOT_SUPPORTED, {}))

    def test_statistics_that_never_come(self):
        """The driver is there, but nobody serves its queue any more."""
        _, balloon, serial = self.start()
        serial.command("balloon inflate 1")
        first = balloon.client.start(balloon.obj, wire.GET_MEM_STATS)
        self.assertEqual(balloon.size(), (1, 0), "other calls go on")
        self.assertEqual(balloon.client.wait(first).reader().i32(), TIMED_OUT)

    def test_statistics_when_the_device_is_reset(self):
        _, balloon, serial = self.start()
        serial.command("balloon inflate 1")
        call = balloon.client.start(balloon.obj, wire.GET_MEM_STATS)
        balloon.size()
        serial.command("balloon stop")
        self.assertEqual(balloon.client.wait(call).reader().i32(), INTERNAL)

    def test_statistics_when_the_guest_is_stopped(self):
        lifecycle, balloon, serial = self.start()
        serial.command("balloon inflate 1")
        call = balloon.client.start(balloon.obj, wire.GET_MEM_STATS)
        balloon.size()
        lifecycle.stop()
        self.assertEqual(balloon.client.wait(call).reader().i32(), INTERNAL)
        self.assertEqual(balloon.epitaph(), INTERNAL)

    def test_two_controllers_at_once(self):
        _, balloon, _ = self.serving()
        other = self.daemon.client().connect("web").balloon()
        balloon.request(100)
        other.request(300)
        self.until(lambda: balloon.size()[0] in (100, 300))  # so the first request has come
        self.reach(other, 500)
        self.assertEqual(balloon.size(), (500, 500))
        other.release()
        self.reach(balloon, 10)

    def test_a_client_that_leaves_while_it_waits(self):
        _, balloon, serial = self.start()
        serial.command("balloon inflate 1")
        client = self.daemon.client()
        other = client.connect("web").balloon()
        client.start(other.obj, wire.GET_MEM_STATS)
        other.size()
        client.close()
        self.assertEqual(balloon.size(), (1, 0))

    def test_epitaph_of_a_clean_end(self):
        _, balloon, serial = self.start()
        serial.send("halt")
        self.assertEqual(balloon.epitaph(), OK)


if __name__ == "__main__":
    daemon.main()
