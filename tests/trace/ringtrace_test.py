#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ringtrace with a real daemon: its counts equal the daemon's own, it detaches, it says what lacks."""
import json
import os
import signal
import threading
import time

from tracing import (FAILURE, NO_DAEMON, NOT_POSSIBLE, OK, RINGTRACE, USAGE, TraceCase, main,
                     semaphores)


class RingtraceTest(TraceCase):
    def test_exits_equal_the_daemons_metrics(self):
        # Two guests at once; a third that has done its work before the trace begins.
        self.launch("before")
        self.tell("before", "exits pio-write 10 0x80")
        self.metrics("before")
        tracer = self.trace("hist", "exits", "--json")
        guests = {"one": 3000, "two": 2000}
        threads = []
        for name, count in guests.items():
            self.launch(name)
            threads.append(threading.Thread(target=self.tell, args=(
                name, f"exits pio-write {count} 0x80", f"exits pio-read {count // 10} 0x80")))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rows, metrics = self.settled(tracer, guests)
        for name, count in guests.items():
            at = {(row["write"], row["count"]) for row in rows
                  if row["guest"] == name and row["address"] == 0x80}
            self.assertEqual(at, {(True, count), (False, count // 10)})
            by_reason = {reason: count for reason, count in metrics[name].items()
                         if reason not in ("kicks", "irqs")}
            self.assertEqual(self.exits_by_bpf(rows, name), by_reason)
        self.assertNotIn("before", {row["guest"] for row in rows})
        self.assertIn("kvm:kvm_userspace_exit fired", "".join(tracer.errors))

    def test_kicks_and_interrupts_equal_the_daemons_metrics(self):
        tracer = self.trace("hist", "kick", "irq", "depth", "turn", "--json")
        self.launch("lucky", "--virtio-rng", "on")
        self.tell("lucky", "rng 100000 irq", "rng 100000 poll packed", "hostile vector-moved rng")
        rows, metrics = self.settled(tracer, ["lucky"])
        self.assertGreater(metrics["lucky"]["kicks"], 0)
        self.assertGreater(metrics["lucky"]["irqs"], 0)
        self.assertEqual(self.total(rows, "kick to completion", "lucky"), metrics["lucky"]["kicks"])
        self.assertEqual(self.total(rows, "completion to interrupt", "lucky"),
                         metrics["lucky"]["irqs"])
        self.assertTrue(all(row["measured"] for row in rows), rows)
        self.assertGreater(self.total(rows, "queue depth", "lucky"), 0)
        self.assertGreater(self.total(rows, "ring depth", ""), 0)
        self.assertGreater(self.total(rows, "turn: completions", ""), 0)

    def test_calls_are_counted(self):
        tracer = self.trace("hist", "rpc", "turn", "--json")
        for _ in range(7):
            self.ctl("list")
        rows = self.rows(tracer)
        calls = {row["what"]: (row["count"], row["measured"]) for row in rows if row["what"]}
        self.assertEqual(calls["Host.List"], (7, 7))
        turns = [row["count"] for row in rows if row["kind"] == "turn of a reactor"]
        self.assertGreaterEqual(sum(turns), 7)

    def test_events_of_one_guest(self):
        tracer = self.trace("events", "guest_state", "--json", "--guest", "tiny")
        self.launch("other")
        self.launch("tiny")
        self.ctl("stop", "tiny")
        self.assertEqual(tracer.end(), OK)
        *events, end = [json.loads(line) for line in tracer.output.splitlines()]
        self.assertEqual(end, {"event": "end", "lost": 0})
        self.assertEqual({(event["event"], event["guest"]) for event in events},
                         {("guest_state", "tiny")})
        self.assertEqual([(event["from"], event["to"]) for event in events],
                         [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)])

    def test_lost_events_are_counted(self):
        # The tracer sleeps while the guest makes more events than its buffer has room for.
        tracer = self.trace("events", "vcpu_exit", "--json")
        tracer.process.send_signal(signal.SIGSTOP)
        self.launch("fast")
        self.tell("fast", "exits pio-write 30000 0x80")
        before = self.metrics("fast")
        tracer.process.send_signal(signal.SIGCONT)
        self.assertEqual(tracer.end(), OK)
        self.assertEqual((self.failed, self.metrics("fast")), ([], before))
        *events, end = [json.loads(line) for line in tracer.output.splitlines()]
        self.assertGreater(len(events), 1000)
        self.assertGreater(end["lost"], 0)
        self.assertEqual(len(events) + end["lost"], before["io"] + before.get("mmio", 0))
        self.assertIn("events were lost", "".join(tracer.errors))

    def test_top(self):
        tracer = self.trace("top", "--interval", "0.2", "--duration", "60")
        self.launch("tiny")
        tracer.wait_for(r"^tiny +\d")
        # The ring's and the scheduler's columns have figures of the kernel's own tracepoints.
        tracer.wait_for(r"^0( +[1-9]\d* +[\d.]+[mun]?s){3} +\d", lambda: self.ctl("list"))
        self.assertEqual(tracer.end(), OK)
        self.assertRegex(tracer.output, r"(?m)^GUEST +EXITS/s +MEAN +IN-KVM/s")

    def test_a_killed_tracer_leaves_nothing_behind(self):
        self.assertEqual(set(semaphores(self.daemon.pid).values()), {0})
        tracers = [self.trace("events"), self.trace("hist", "exits", "turn")]
        self.assertNotIn(0, semaphores(self.daemon.pid).values())
        self.assertEqual(tracers[0].end(signal.SIGKILL), -signal.SIGKILL)
        self.assertGreater(semaphores(self.daemon.pid)["vcpu_exit"], 0)
        self.assertEqual(tracers[1].end(signal.SIGKILL), -signal.SIGKILL)
        deadline = time.monotonic() + 30
        while set(semaphores(self.daemon.pid).values()) != {0}:
            self.assertLess(time.monotonic(), deadline, semaphores(self.daemon.pid))
            time.sleep(0.01)
        self.launch("tiny")

    def test_the_daemons_end_is_the_tracers(self):
        tracer = self.trace("hist", "turn")
        self.daemon.kill()
        self.daemon.wait()
        self.assertEqual(tracer.wait(), OK)

    def test_errors_say_what_is_missing(self):
        pid = str(self.daemon.pid)
        self.assertIn("none of exits", self.refused(USAGE, RINGTRACE, "-p", pid, "hist", "exit"))
        self.assertIn("no probe", self.refused(USAGE, RINGTRACE, "-p", pid, "events", "kicks"))
        self.assertIn("no command", self.refused(USAGE, RINGTRACE, "-p", pid, "tip"))
        self.assertIn("no process", self.refused(NO_DAEMON, RINGTRACE, "-p", "4194304", "top"))
        me = str(os.getpid())
        self.assertIn("no probe", self.refused(FAILURE, RINGTRACE, "-p", me, "hist", "exits"))
        less = ["setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin"]
        self.assertIn("CAP_BPF and CAP_PERFMON",
                      self.refused(NOT_POSSIBLE, *less, RINGTRACE, "-p", pid, "top"))
        less = ["setpriv", "--bounding-set", "-perfmon,-sys_admin"]
        self.assertIn("lacks CAP_PERFMON:",
                      self.refused(NOT_POSSIBLE, *less, RINGTRACE, "-p", pid, "top"))


if __name__ == "__main__":
    main()
