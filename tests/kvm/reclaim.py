#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`ringvisor serve --reclaim pressure` for real: a daemon with two guests and programs that read a
file again and again share a memory cgroup that is too small for all of it. The guests have used all
of their memory once and need little of it. While the readers wait for memory, the daemon has to take
it from the guests; when the readers have gone, to give it back.

Skipped, with the reason, where no such cgroup can be made."""
import os
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import daemon  # noqa: E402
import memory_cgroup  # noqa: E402
import openmetrics  # noqa: E402
import wire  # noqa: E402

MIB = 1 << 20
GUEST, FILLED = 224 * MIB, 180 * MIB
FILE = 160 * MIB
LIMIT = 2 * FILLED + 90 * MIB  # the daemon, and a part of the file
READERS = 2
NAMES = "one", "two"
SECONDS = 120

# Pages at random, the same ones for ever: what is thrown out is missed.
READER = """
import mmap, os, random, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(fd).st_size
pages = mmap.mmap(fd, size, prot=mmap.PROT_READ)
while True:
    pages[random.randrange(size)]
"""


class Reclaim(unittest.TestCase):
    def figures(self):
        return openmetrics.parse(self.client.metrics())

    def extra(self, families=None):
        """What the policy asks of each guest, in bytes."""
        family = (families or self.figures())["ringvisor_guest_balloon_reclaim_bytes"]
        return [family.value(guest=name) for name in NAMES]

    def until(self, what, condition):
        deadline = time.monotonic() + SECONDS
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"{what}: {self.extra()}, resident "
                            f"{self.resident()}, waited {self.group.waited_us()}")
            time.sleep(0.2)

    def resident(self):
        return [self.client.get_info(name)["resident_bytes"] for name in NAMES]

    def launch(self, name):
        """A guest that has used its memory, has most of it free, and serves its balloon."""
        guest = self.client.launch(name, wire.builtin(guest_memory=GUEST, virtio_balloon=1))
        serial = daemon.Serial(guest.serial())
        self.addCleanup(serial.sock.close)
        serial.expect(daemon.PROMPT)
        for step in "inflate", "deflate":
            out = serial.command(f"balloon {step} {FILLED // 4096}")
            self.assertIn(b"VERDICT balloon ok", out)
        serial.send("balloon serve")
        serial.expect(b"balloon serves")
        return guest.balloon(), serial

    def reader(self, path):
        process = subprocess.Popen([sys.executable, "-c", READER, path],
                                   preexec_fn=self.group.enter)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    @staticmethod
    def write(path):
        """The file, on the disk and nowhere in memory: who reads it is charged for it."""
        with open(path, "wb") as to:
            for _ in range(FILE // MIB):
                to.write(os.urandom(MIB))
            to.flush()
            os.fsync(to.fileno())
            os.posix_fadvise(to.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def waiting(self, seconds):
        """The part of the next seconds for which somebody waits for memory."""
        before, start = self.group.waited_us(), time.monotonic()
        time.sleep(seconds)
        return (self.group.waited_us() - before) / 1e6 / (time.monotonic() - start)

    def trial(self, folder):
        balloons = [self.launch(name) for name in NAMES]
        full = self.resident()
        self.assertGreaterEqual(min(full), FILLED)
        self.assertEqual(self.extra(), [0, 0], "no pressure yet")
        path = os.path.join(folder, "file")
        self.write(path)
        readers = [self.reader(path) for _ in range(READERS)]
        under = self.waiting(2)
        self.until("memory is taken", lambda: min(self.extra()) > 0)
        self.until("the guests give it", lambda: max(self.resident()) < FILLED - 32 * MIB)
        self.until("the pressure passes", lambda: self.waiting(2) < 0.1)
        print(f"limit {LIMIT // MIB} MiB; waited for memory {under:.0%} of the time at first; "
              f"after the policy had taken {[int(e) // MIB for e in self.extra()]} MiB: "
              f"{self.waiting(2):.1%}; resident {[f // MIB for f in full]} → "
              f"{[r // MIB for r in self.resident()]} MiB")
        families = self.figures()
        self.assertGreater(families["ringvisor_reclaim_events"].value(), 0)
        self.assertGreater(families["ringvisor_reclaim_steps"].value(), 0)
        for name in NAMES:  # neither guest had to go below its floor
            target = families["ringvisor_guest_balloon_target_bytes"].value(guest=name)
            self.assertLessEqual(target, GUEST - 64 * MIB)
        for reader in readers:
            reader.kill()
            reader.wait()
        start = time.monotonic()
        self.until("it is given back", lambda: max(self.extra()) == 0)
        took = time.monotonic() - start
        self.assertGreater(took, 20, "not before it has been calm for a while")
        print(f"given back {took:.0f} s after the readers' end")
        for balloon, serial in balloons:
            self.assertIn(b"VERDICT balloon ok", serial.expect(daemon.PROMPT))
            self.assertEqual(balloon.size(), (0, 0))

    def test_pressure_takes_memory_and_gives_it_back(self):
        try:
            self.group = memory_cgroup.MemoryCgroup(LIMIT)
        except memory_cgroup.Unavailable as reason:
            self.skipTest(str(reason))
        with self.group, tempfile.TemporaryDirectory() as folder:
            with daemon.Daemon("--reclaim", "pressure", preexec_fn=self.group.enter) as self.daemon:
                self.client = self.daemon.client()
                try:
                    self.trial(folder)
                finally:
                    self.doCleanups()


if __name__ == "__main__":
    daemon.require_kvm()
    if daemon.sanitized():
        print("skipped: a sanitizer's memory is charged to the same cgroup")
        sys.exit(daemon.SKIPPED)
    result = unittest.main(verbosity=2, exit=False).result
    if result.skipped and not result.failures and not result.errors:
        print("skipped:", result.skipped[0][1])
        sys.exit(daemon.SKIPPED)
    sys.exit(not result.wasSuccessful())
