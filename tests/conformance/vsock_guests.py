#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Vsock between embedded guests of one daemon that allow it, and those that do not."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

A, B, ALONE = 3, 4, 5
STREAM_BYTES = 16 << 20


class VsockGuests(daemon.Case):
    def setUp(self):
        super().setUp()
        self.lifecycles, self.serials = {}, {}
        for cid, allows in (A, 1), (B, 1), (ALONE, 0):
            lifecycle, _, guest = self.running(f"guest{cid}", virtio_vsock=1, guest_cid=cid,
                                               vsock_guest_to_guest=allows, guest_memory=64 << 20)
            self.lifecycles[cid], self.serials[cid] = lifecycle, self.shell(guest)

    def command(self, cid, line, verdict="ok"):
        said = self.serials[cid].command(line).decode()
        self.assertRegex(said, f"VERDICT vsock {verdict}")
        return said

    def stat(self, cid):
        return {name: int(value) for name, value in
                re.findall(r"(\w+)=(\d+)", self.command(cid, "vsock stat"))}

    def well(self, *cids):
        """Nothing is left, and nobody broke a rule."""
        for cid in cids:
            self.until(lambda cid=cid: self.stat(cid)["connections"] == 0)
            stat = self.stat(cid)
            self.assertEqual((stat["bad"], stat["over_credit"]), (0, 0), stat)

    def test_bytes_go_there_and_back(self):
        for here, there in (A, B), (B, A):
            said = self.command(here, f"vsock connect {there}:7 one two")
            self.assertIn("sent=7 received=7 text=one two", said)
            for size in 1, 4096, 65536:
                self.command(here, f"vsock ping {there}:7 {size} 20")  # compared in the guest
        self.well(A, B)

    def test_streams_of_megabytes(self):
        for streams, size in (1, 65536), (16, 4096):
            said = self.command(A, f"vsock send {B}:9 {STREAM_BYTES // streams} {size} {streams}")
            self.assertIn(f"bytes={STREAM_BYTES}", said)
        self.assertGreaterEqual(self.stat(B)["rx_bytes"], 2 * STREAM_BYTES)
        self.well(A, B)

    def test_both_ways_at_once(self):
        for here, there in (A, B), (B, A):
            self.serials[here].send(f"vsock send {there}:9 {STREAM_BYTES // 4} 65536 4")
        for here in A, B:
            self.serials[here].expect(b"VERDICT vsock ok")
            self.serials[here].expect(daemon.PROMPT)
        self.well(A, B)

    def test_connections_come_and_go(self):
        files = len(self.daemon.fds())
        self.command(A, f"vsock storm {B}:7 2000 16 100")
        self.command(B, f"vsock storm {A}:9 500 4")
        self.well(A, B)
        self.until(lambda: len(self.daemon.fds()) <= files)

    def test_refusals(self):
        for here, there in ((A, f"{B}:1234"), (A, f"{ALONE}:7"), (ALONE, f"{A}:7"), (A, "77:7"),
                            (A, f"{A}:7")):
            said = self.command(here, f"vsock connect {there} hello", "failed")
            self.assertIn("connection refused", said)
        self.well(A, B, ALONE)

    def test_an_address_is_taken_once(self):
        config = {"virtio_vsock": 1, "guest_cid": B, "guest_memory": 64 << 20}
        more = self.client.open_lifecycle("more")
        allows = wire.builtin(vsock_guest_to_guest=1, **config)
        error = self.guest_error("DUPLICATE_PUBLIC_SERVICES", more.create, allows)
        self.assertIn("guest_cid 4", error.detail)
        more.create(wire.builtin(**config))  # nobody reaches this one
        self.lifecycles[B].stop()
        more.create(allows)

    def test_the_other_guest_goes_away(self):
        self.serials[A].send(f"vsock send {B}:9 {1 << 40} 65536 4")
        self.serials[A].expect(b"vsock ready")
        self.lifecycles[B].stop()
        self.serials[A].expect(b"VERDICT vsock failed: connection 0 was reset")
        self.serials[A].expect(daemon.PROMPT)
        self.command(A, f"vsock connect {B}:7 hello", "failed")
        self.well(A)

    def test_the_other_driver_is_reset(self):
        self.serials[A].send(f"vsock send {B}:9 {1 << 40} 65536 4")
        self.serials[A].expect(b"vsock ready")
        self.command(B, "vsock reset")
        self.serials[A].expect(b"VERDICT vsock failed: connection 0 was reset")
        self.serials[A].expect(daemon.PROMPT)
        self.command(A, f"vsock connect {B}:7 again")
        self.well(A, B)


if __name__ == "__main__":
    daemon.main()
