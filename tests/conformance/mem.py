#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""MemController, with the embedded guest's driver at the other end."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

OK, INTERNAL, INVALID_ARGS = 0, 1, 4
MIB = 1 << 20
BLOCK, REGION = 2 * MIB, 256 * MIB


def config(**more):
    return {"virtio_mem": 1, "virtio_mem_region_size": REGION, "guest_memory": 64 * MIB, **more}


class Mem(daemon.Case):
    def start(self, **more):
        """(lifecycle, guest, mem, serial)"""
        lifecycle, _, guest = self.running(**config(**more))
        return lifecycle, guest, guest.mem(), self.shell(guest)

    def resident(self):
        return self.client.get_info("web")["resident_bytes"]

    def do(self, serial, command, verdict=b"ok"):
        out = serial.command("hotplug " + command)
        self.assertIn(b"VERDICT hotplug " + verdict, out)
        return out

    def plugged(self, mem, size):
        mem.request(size)
        self.until(lambda: mem.size()["plugged_size"] == size)

    def test_sizes(self):
        _, _, mem, _ = self.start()
        self.assertEqual(mem.size(), {
            "block_size": BLOCK, "region_size": REGION, "usable_region_size": REGION,
            "plugged_size": 0, "requested_size": 0})
        self.assertEqual(self.client.get_info("web")["devices"], ["virtio-mem"])

    def test_the_region_lies_above_ram_and_is_aligned(self):
        for memory in 64 * MIB, 3072 * MIB, 3200 * MIB:
            lifecycle, _, _, serial = self.start(guest_memory=memory)
            out = self.do(serial, "info")
            base = int(out.split(b"base=")[1].split()[0], 16)
            self.assertGreaterEqual(base, max(4096 * MIB, memory + 1024 * MIB))
            self.assertEqual(base % (128 * MIB), 0)
            lifecycle.stop()

    def test_the_guest_follows_requests(self):
        """Each block that comes is zero, keeps what is written, and leaves nothing behind."""
        _, _, mem, serial = self.start()
        serial.send("hotplug serve")
        serial.expect(b"hotplug serves")
        for size in 64 * MIB, 10 * MIB, 128 * MIB, 2 * MIB, 40 * MIB, 0:
            self.plugged(mem, size)
        self.assertIn(b"VERDICT hotplug ok", serial.expect(daemon.PROMPT))

    def test_unplugged_memory_goes_back_to_the_host(self):
        _, _, mem, serial = self.start()
        before = self.resident()
        mem.request(REGION)
        self.do(serial, "plug 0 64")
        self.assertLess(self.resident() - before, MIB, "not touched, not resident")
        self.do(serial, "fill 0 64")
        full = self.resident()
        self.assertGreaterEqual(full - before, 64 * BLOCK)
        self.do(serial, "unplug 16 32")
        self.assertGreaterEqual(full - self.resident(), 32 * BLOCK * 99 // 100)
        self.assertEqual(mem.size()["plugged_size"], 32 * BLOCK)
        self.do(serial, "check 0 16")
        self.do(serial, "check 48 16")
        self.do(serial, "gone 16 32")
        self.do(serial, "plug 20 2")
        self.do(serial, "zero 20 2")
        self.do(serial, "all")
        self.assertEqual(mem.size()["plugged_size"], 0)
        self.do(serial, "gone 0 64")
        self.assertLess(self.resident() - before, MIB)

    def test_requests_that_are_refused(self):
        _, _, mem, serial = self.start()
        mem.request(8 * MIB)
        self.assertIn(b"failed: NACK", serial.command("hotplug plug 0 5"))
        self.do(serial, "plug 0 4")
        for command in ("plug 0 1", "plug 3 2", "unplug 3 2", "unplug 100", "plug 128 1",
                        "plug 0 0", "unplug 0 0", "state 0 0", "unplug 127 2", "state 0 65535"):
            self.assertIn(b"failed: ERROR", serial.command("hotplug " + command), command)
        self.assertEqual(mem.size()["plugged_size"], 8 * MIB)
        self.assertIn(b"state=plugged", self.do(serial, "state 0 4"))
        self.assertIn(b"state=mixed", self.do(serial, "state 3 2"))
        self.assertIn(b"state=unplugged", self.do(serial, "state 4 1"))

    def test_a_reset_of_the_device_keeps_the_blocks(self):
        _, _, mem, serial = self.start()
        mem.request(8 * MIB)
        self.do(serial, "plug 1 3")
        self.do(serial, "fill 1 3")
        serial.command("hotplug stop")
        self.do(serial, "check 1 3 packed")
        self.assertEqual(mem.size()["plugged_size"], 6 * MIB)

    def test_impossible_sizes_close_the_controller(self):
        _, guest, _, _ = self.start()
        for size in BLOCK + 1, 4096, REGION + BLOCK, (1 << 64) - BLOCK:
            mem = guest.mem()
            mem.request(size)
            self.assertEqual(mem.epitaph(), INVALID_ARGS)
        mem = guest.mem()
        self.assertEqual(mem.size()["requested_size"], 0)
        mem.request(REGION)
        self.assertEqual(mem.size()["requested_size"], REGION)

    def test_two_controllers_at_once(self):
        _, _, mem, _ = self.start()
        other = self.daemon.client().connect("web").mem()
        other.request(1)
        self.assertEqual(other.epitaph(), INVALID_ARGS)
        mem.request(BLOCK)
        self.assertEqual(mem.size()["requested_size"], BLOCK, "the other one goes on")

    def test_epitaphs_at_the_end(self):
        lifecycle, _, mem, _ = self.start()
        lifecycle.stop()
        self.assertEqual(mem.epitaph(), INTERNAL)
        _, _, mem, serial = self.start()
        serial.send("halt")
        self.assertEqual(mem.epitaph(), OK)

    def test_stop_with_blocks_plugged_leaves_nothing(self):
        self.start()[0].stop()
        before = self.daemon.fds(), self.daemon.mappings()
        lifecycle, _, mem, serial = self.start()
        mem.request(REGION)
        self.do(serial, "plug 0 128")
        self.do(serial, "fill 0 128")
        serial.sock.close()
        lifecycle.stop()
        self.until(lambda: self.daemon.status("RssShmem") < 1024)
        self.assertLessEqual(len(self.daemon.fds()), len(before[0]) + 2)

    def test_regions_that_cannot_be(self):
        lifecycle = self.client.open_lifecycle("web")

        def create(**more):
            lifecycle.create(wire.builtin(**config(**more)))

        for more in ({"virtio_mem_block_size": 3 * MIB}, {"virtio_mem_block_size": 2048},
                     {"virtio_mem_region_size": 3 * MIB}, {"virtio_mem_region_size": 0},
                     {"virtio_mem_region_alignment": 3 * MIB}):
            self.guest_error("BAD_CONFIG", create, **more)
        for more in ({"virtio_mem_region_alignment": 6 * MIB},
                     {"virtio_mem_region_size": 4 << 40},
                     {"virtio_mem_region_size": 1 << 30, "virtio_mem_block_size": 4096}):
            self.guest_error("GUEST_INITIALIZATION_FAILURE", create, **more)
        create(virtio_mem_region_size=6 * MIB)


if __name__ == "__main__":
    daemon.main()
