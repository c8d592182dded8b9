#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A hostile guest under the daemon: the embedded guest does everything that a driver must not do, case
by case, while another guest and the control channel go on being served. What they took is measured
during each case and printed; the bound is one that only a stall would miss."""
import os
import re
import select
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402
from daemon import Daemon, require_kvm  # noqa: E402

STALL_SECONDS = 20
CASE_SECONDS = 120


class Serial:
    """The serial console of a guest."""

    def __init__(self, guest):
        self.sock = guest.serial()
        self.text = b""

    def close(self):
        self.sock.close()

    def send(self, line):
        self.sock.sendall(line.encode() + b"\n")

    def expect(self, pattern, seconds=CASE_SECONDS):
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern.encode(), self.text)):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                raise AssertionError(f"{pattern} did not come: {self.text[-2000:]}")
            data = self.sock.recv(65536)
            if not data:
                raise AssertionError(f"the console ended: {self.text[-2000:]}")
            self.text += data
        self.text = self.text[found.end():]
        return found


class Watcher(threading.Thread):
    """Uses the control channel and another guest without a pause; keeps what each round trip took."""

    def __init__(self, client, serial):
        super().__init__()
        self.client, self.serial = client, serial
        self.worst = {"control": 0.0, "guest": 0.0}
        self.rounds = 0
        self.failure = None
        self.over = False

    def round(self):
        start = time.monotonic()
        self.client.info()
        middle = time.monotonic()
        self.serial.send(f"echo round {self.rounds}")
        self.serial.expect(f"\nround {self.rounds}\r?\n", STALL_SECONDS)
        self.serial.expect("VERDICT echo ok", STALL_SECONDS)
        end = time.monotonic()
        self.worst["control"] = max(self.worst["control"], middle - start)
        self.worst["guest"] = max(self.worst["guest"], end - middle)
        self.rounds += 1

    def run(self):
        try:
            while not self.over or not self.rounds:
                self.round()
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure


def launch(client, name, **more):
    guest = client.launch(name, wire.builtin(guest_memory=64 << 20, **more))
    serial = Serial(guest)
    serial.expect("\n> ")
    return serial


class HostileGuest(unittest.TestCase):
    def watched(self, d, hostile, command, verdict):
        """Runs one command of the hostile guest; the others have to be served meanwhile."""
        watcher = Watcher(d.watching, d.neighbour)
        watcher.start()
        try:
            hostile.send(command)
            found = hostile.expect(verdict)
        finally:
            watcher.over = True
            watcher.join()
        if watcher.failure:
            raise watcher.failure
        for what, seconds in watcher.worst.items():
            self.assertLess(seconds, STALL_SECONDS, f"{what} during {command}")
        print(f"{command:44} control {watcher.worst['control'] * 1e3:7.1f} ms, other guest "
              f"{watcher.worst['guest'] * 1e3:7.1f} ms, at most, in {watcher.rounds} rounds")
        return found

    def run_cases(self, device, ring):
        with Daemon() as d:
            client = d.client()
            d.watching = d.client()
            hostile = launch(client, "hostile", cpus=2, virtio_console=True, virtio_rng=True)
            d.neighbour = launch(d.watching, "neighbour")
            hostile.send("hostile list")
            listed = hostile.expect(r"(?s)hostile list\r?\n(.*?)VERDICT hostile ok")[1].decode()
            cases = re.findall(r"(?m)^([a-z0-9-]{3,})\b", listed)
            self.assertGreater(len(cases), 60, listed)
            for case in cases:
                found = self.watched(d, hostile, f"hostile {case} {device} {ring}",
                                     rf"VERDICT hostile {case} (ok|failed|skipped)([^\r\n]*)")
                self.assertNotEqual(found[1], b"failed", f"{case}: {found[2].decode()}")
                hostile.expect(r"VERDICT hostile (ok|failed[^\r\n]*)")
            # And it is still a guest like any other.
            hostile.send("rng 1000")
            hostile.expect("VERDICT rng ok")
            client.force_shutdown("hostile")
            client.force_shutdown("neighbour")
            hostile.close()
            d.neighbour.close()

    def test_rng_split(self):
        self.run_cases("rng", "split")

    def test_rng_packed(self):
        self.run_cases("rng", "packed")

    def test_console_split(self):
        self.run_cases("console", "split")

    def test_console_packed(self):
        self.run_cases("console", "packed")


if __name__ == "__main__":
    require_kvm()
    daemon.PATIENCE = 120
    unittest.main(verbosity=2, argv=sys.argv)
