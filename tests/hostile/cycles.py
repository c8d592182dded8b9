#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""500 times Create, Run, Stop: no descriptor, thread, mapping or memory is left behind."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

CYCLES, WARM_UP = 500, 50
RSS_SLACK_KIB = 1024
MAPPINGS_SLACK = 16  # stacks of helper threads, arenas


class Cycles(daemon.Case):
    ARGUMENTS = ("--cores", ",".join(str(c) for c in sorted(os.sched_getaffinity(0))[:2]))

    def usage(self):
        return {"fds": self.daemon.fds(), "mappings": self.daemon.mappings(),
                "rss": self.daemon.status("VmRSS")}

    def cycle(self, lifecycle, number):
        lifecycle.create(wire.builtin(cpus=1 + number % 2))
        guest = lifecycle.bind()
        run = lifecycle.run()
        serial = guest.serial() if number % 3 else None
        lifecycle.stop()
        self.guest_error("CONTROLLER_FORCED_HALT", self.client.wait, run)
        self.assertEqual(guest.epitaph(), 1)
        if serial:
            serial.close()

    def compare(self, before, after):
        self.assertEqual(before["fds"], after["fds"])
        if daemon.sanitized():
            return
        self.assertLessEqual(after["mappings"], before["mappings"] + MAPPINGS_SLACK)
        self.assertLessEqual(after["rss"], before["rss"] + RSS_SLACK_KIB)

    def test_create_run_stop(self):
        threads = self.daemon.threads()
        lifecycle = self.client.open_lifecycle("web")
        for i in range(WARM_UP):
            self.cycle(lifecycle, i)
        before = self.usage()
        for i in range(CYCLES):
            self.cycle(lifecycle, i)
        after = self.usage()
        # One that has been joined may be listed for a moment more.
        self.until(lambda: self.daemon.threads() == threads)
        print(f"\n  before {summary(before)}\n  after  {summary(after)}", file=sys.stderr)
        self.compare(before, after)

    def test_connections(self):
        def once():
            with wire.Client(self.daemon.path, daemon.PATIENCE) as client:
                client.open_lifecycle("web").create(wire.builtin(cpus=0, wayland=0))

        fds = self.fds_at_rest()
        for _ in range(WARM_UP):
            self.assertRaises(wire.CallError, once)
        self.until(lambda: self.daemon.fds() == fds)
        before = self.usage()
        for _ in range(CYCLES):
            self.assertRaises(wire.CallError, once)
        self.until(lambda: self.daemon.fds() == fds)
        self.compare(before, self.usage())


def summary(usage):
    return {name: value if isinstance(value, int) else len(value)
            for name, value in usage.items()}


if __name__ == "__main__":
    daemon.main()
