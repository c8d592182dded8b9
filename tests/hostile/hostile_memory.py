#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A guest that is hostile to its own balloon and virtio-mem, under the daemon, while clients pull at
both controllers at once and another guest works: that one's memory is compared, its controllers
answer, and afterwards nothing of the hostile guest's is left."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

MIB = 1 << 20
BLOCK, BLOCKS = 2 * MIB, 32
REQUESTS, LIVES = 200, 10
STALL_SECONDS = 20


class Meddler(threading.Thread):
    """Uses both controllers of a guest without a pause, whatever the guest is doing."""

    def __init__(self, client, name):
        super().__init__()
        guest = client.connect(name)
        self.balloon, self.mem = guest.balloon(), guest.mem()
        self.over, self.rounds, self.worst, self.failure = False, 0, 0.0, None

    def round(self):
        start = time.monotonic()
        self.balloon.request(self.rounds * 7919 % 20000)
        self.balloon.size()
        self.mem.request(self.rounds % (BLOCKS + 1) * BLOCK)
        self.mem.size()
        self.worst = max(self.worst, time.monotonic() - start)
        self.rounds += 1

    def run(self):
        try:
            while not self.over or not self.rounds:
                self.round()
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure


class HostileMemory(daemon.Case):
    def launch(self, name):
        guest = self.client.launch(name, wire.builtin(
            guest_memory=64 * MIB, virtio_balloon=1, virtio_mem=1, virtio_mem_block_size=BLOCK,
            virtio_mem_region_size=BLOCKS * BLOCK))
        return guest, self.shell(guest)

    def do(self, shell, command):
        out = shell.command(command)
        self.assertIn(b"VERDICT " + command.split()[0].encode() + b" ok", out)
        return out

    def meddlers(self, *names):
        """Two for each guest: its controllers are in two hands."""
        threads = [Meddler(self.daemon.client(), name) for name in names for _ in range(2)]
        for thread in threads:
            thread.start()
        return threads

    def ended(self, threads):
        for thread in threads:
            thread.over = True
        for thread in threads:
            thread.join()
            if thread.failure:
                raise thread.failure
            self.assertLess(thread.worst, STALL_SECONDS)
        return max(thread.worst for thread in threads), sum(t.rounds for t in threads)

    def neighbour_works(self, neighbour, shell):
        """What it has in plugged memory is unchanged; its RAM works; its balloon gives and takes."""
        self.do(shell, "hotplug check 0 8")
        self.do(shell, "mem 64")
        self.do(shell, "balloon inflate 512")
        self.do(shell, "balloon deflate 512")
        self.assertEqual(neighbour.mem().size()["plugged_size"], 8 * BLOCK)

    def test_balloon_and_mem(self):
        neighbour, works = self.launch("neighbour")
        neighbour.mem().request(8 * BLOCK)
        self.do(works, "hotplug plug 0 8")
        self.do(works, "hotplug fill 0 8")
        before = self.daemon.fds()
        for device in "balloon", "mem":
            for seed in 1, 2:
                hostile, wild = self.launch("hostile")
                threads = self.meddlers("hostile")
                wild.send(f"wild {device} {REQUESTS} {seed}")
                self.neighbour_works(neighbour, works)
                out = wild.expect(daemon.PROMPT)
                self.assertIn(b"VERDICT wild ok", out)
                self.assertIn(f"lives={LIVES}".encode(), out)
                worst, rounds = self.ended(threads)
                said = out.split(b"wild sent=")[1].splitlines()[0].decode()
                print(f"{device}: {said} of the requests sent; "
                      f"controllers {rounds} rounds of four calls, at most {worst * 1e3:.1f} ms")
                # And it is still a guest like any other.
                hostile.mem().request(BLOCKS * BLOCK)
                self.do(wild, "hotplug all")
                self.do(wild, "hotplug plug 0 4")
                self.do(wild, "hotplug zero 0 4")
                self.do(wild, "balloon inflate 1000")
                self.do(wild, "balloon deflate 1000")
                self.neighbour_works(neighbour, works)
                self.client.force_shutdown("hostile")
                wild.sock.close()
        self.until(lambda: len(self.daemon.fds()) <= len(before) + 12)
        self.until(lambda: sum("memfd:ringvisor:hostile" in fd for fd in self.daemon.fds()) == 0)

    def test_statistics_and_requests_while_the_device_resets(self):
        _, wild = self.launch("hostile")
        balloon = self.daemon.client().connect("hostile").balloon()
        wild.send(f"wild balloon {REQUESTS} 3")
        answers = set()
        calls = [balloon.client.start(balloon.obj, wire.GET_MEM_STATS) for _ in range(50)]
        for call in calls:
            answers.add(balloon.client.wait(call).reader().i32())
        # OK: what came was as good as an answer. The device lost, not there, nobody answers.
        self.assertLessEqual(answers, {0, 1, 2, 9})
        self.assertIn(b"VERDICT wild ok", wild.expect(daemon.PROMPT))


if __name__ == "__main__":
    daemon.main()
