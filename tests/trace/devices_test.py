#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ringtrace hist of devices and of the kernel's tracepoints: counts equal the daemon's and ours."""
import re
import subprocess
import threading

from tracing import MESSAGE, RINGCTL, TraceCase, main


class DevicesTest(TraceCase):
    def gauges(self, guest, prefix):
        return {name: int(value) for name, value in re.findall(
            r'^ringvisor_guest_(%s\w*)\{guest="%s"\} (\d+)$' % (prefix, guest),
            self.ctl("metrics"), re.M)}

    @staticmethod
    def pick(rows, kind, guest, what=""):
        found = [row for row in rows if (row["kind"], row["guest"]) == (kind, guest)
                 and what in (row["what"], "")]
        return {key: sum(row[key] for row in found) for key in ("count", "measured", "sum")}

    def test_vsock_equals_the_daemons_metrics(self):
        """Round trips of several connections of two guests at once."""
        guests = {"one": (self.vsock_guest("one", 3), 3, 200), "two": (self.vsock_guest("two", 4), 2, 300)}
        tracer, before = self.trace_at_rest(
            lambda: {name: (self.metrics(name), self.gauges(name, "vsock")) for name in guests},
            "hist", "vsock", "kick", "irq", "--json")
        threads = [threading.Thread(target=self.echo, args=(path, rounds))
                   for path, connections, rounds in guests.values() for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rows, metrics = self.settled(tracer, guests)
        for name, (_, connections, rounds) in guests.items():
            trips, was, now = connections * rounds, before[name][1], self.gauges(name, "vsock")
            moved = {key: now[key] - was[key] for key in now}
            opened = self.pick(rows, "vsock: request to connection", name)
            self.assertEqual((opened["count"], opened["measured"]),
                             (moved["vsock_connected_total"] + moved["vsock_accepted_total"],) * 2)
            self.assertEqual(opened["count"], connections)
            for way, family in (("to guest", "to_guest"), ("from guest", "from_guest")):
                self.assertEqual(self.pick(rows, "vsock: bytes at once", name, way)["sum"],
                                 moved[f"vsock_{family}_bytes_total"])
                self.assertEqual(moved[f"vsock_{family}_bytes_total"], trips * len(MESSAGE))
            self.assertEqual(self.pick(rows, "vsock: without credit", name)["count"],
                             moved["vsock_credit_stalls_total"])
            replies = self.pick(rows, "vsock: data to the guest's next data", name)
            self.assertEqual((replies["count"], replies["measured"]), (trips, trips))
            for kind, key in (("kick to completion", "kicks"), ("completion to interrupt", "irqs")):
                self.assertEqual(self.total(rows, kind, name),
                                 metrics[name][key] - before[name][0][key])
            sent = self.pick(rows, "vsock: kick to client", name)
            self.assertEqual(sent["count"], sent["measured"])
            self.assertGreater(sent["count"], 0)
            self.assertLessEqual(sent["count"], trips)

    def test_console_bytes_are_those_that_came(self):
        tracer = self.trace("hist", "console", "kick", "--json")
        self.launch("wordy", "--virtio-console", "on")
        console = subprocess.Popen([RINGCTL, "--socket", self.socket, "attach", "wordy"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(console.wait)
        self.addCleanup(console.kill)
        self.addCleanup(console.stdout.close)
        self.addCleanup(console.stdin.close)
        got = []
        reader = threading.Thread(target=lambda: got.append(console.stdout.read(1000000)))
        reader.start()
        self.tell("wordy", "console source 1000000")
        reader.join(timeout=60)
        rows, metrics = self.settled(tracer, ["wordy"])
        self.assertEqual([len(text) for text in got], [1000000])
        written = self.pick(rows, "console: bytes at once", "wordy")
        self.assertEqual(written["sum"], 1000000)
        times = self.pick(rows, "console: output queued to written", "wordy")
        self.assertEqual((times["count"], times["measured"]), (written["count"],) * 2)
        self.assertEqual(self.total(rows, "kick to completion", "wordy"), metrics["wordy"]["kicks"])

    def submissions(self):
        return int(re.search(r'^ringvisor_reactor_submissions_total\{reactor="0"\} (\d+)$',
                             self.ctl("metrics"), re.M).group(1))

    def test_operations_of_the_ring_and_waits_for_a_cpu(self):
        """The kernel's tracepoints, by reactor and by guest."""
        tracer = self.trace("hist", "ring", "sched", "kvm", "--json")
        self.launch("busy", "--virtio-rng", "on")
        self.tell("busy", "rng 100000 irq", "exits pio-write 500 0x80")
        before = self.submissions()
        rows = self.rows(tracer)
        operations = sum(row["count"] for row in rows
                         if row["kind"] == "io_uring: submission to completion")
        # The tracer saw all but those before it came, and some after `before` was read.
        self.assertGreater(operations, before // 2)
        self.assertLess(operations, self.submissions() + 1)
        waits = {row["label"] for row in rows if row["kind"] == "sched: runnable to running"}
        self.assertIn("reactor 0", waits)
        self.assertIn("vcpu 0", waits)
        events = {row["what"]: row["count"] for row in rows if row["kind"] == "kvm: events"}
        self.assertGreaterEqual(events.get("kvm_userspace_exit", 0) + events.get("kvm_pio", 0), 500)
        said = "".join(tracer.errors)
        for event in ("kvm_pio", "kvm_mmio", "kvm_fast_mmio", "kvm_inj_virq"):
            self.assertTrue(event in events or f"kvm:{event} has not fired" in said, (event, said))


if __name__ == "__main__":
    main()
