#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Where the time of one console-echo round trip goes, for both monitors, by kernel tracepoints.

Usage (as root): perf/echo_split.py RINGBENCH console-echo [options ...]

Runs that benchmark, or console-echo-together or -apart, with the tracepoints of scheduler, system calls and KVM switched on
for it and its children only, and prints the median time between the landmarks of a round trip.
Tracing itself costs some microseconds a round trip: compare shares, not sums. Not all round trips
have the same landmarks (a thread that was still running need not be switched to): shown are those
of the kind that each monitor has most of.
"""

import collections
import os
import re
import statistics
import subprocess
import sys

TRACING = "/sys/kernel/tracing/instances/ringvisor_echo_%d" % os.getpid()
EVENTS = [
    "raw_syscalls:sys_enter", "raw_syscalls:sys_exit", "sched:sched_waking", "sched:sched_switch",
    "kvm:kvm_mmio", "kvm:kvm_fast_mmio", "kvm:kvm_msi_set_irq",
]
LINE = re.compile(r"^\s*(.+)-(\d+)\s+\[(\d+)\]\s+\S+\s+([\d.]+): (\w+): (.*)$")
CLIENT = "ringbench"
MONITORS = {"ringvisor": ["ringvisor", "polling"], "qemu-system-x86": ["QEMU"]}
EOI = "gpa 0xfee000b0"
WRITE, IOCTL, READ = 1, 16, 0  # system calls on x86-64

# The landmarks, and what lies before each. Not every trip has all: a vCPU that KVM keeps spinning
# needs no switch, a monitor that polls needs no doorbell.
STEPS = [
    ("wake", "client: write, until it wakes the monitor"),
    ("monitor_on", "the monitor's thread runs"),
    ("irq", "monitor: until it raises the interrupt"),
    ("vcpu_on", "the vCPU's thread runs"),
    ("eoi", "guest: out of hlt, until it acknowledges the interrupt"),
    ("kick", "guest: echo, until its doorbell"),
    ("monitor_again", "the monitor's thread runs"),
    ("answer", "monitor: from there until its write wakes the client"),
    ("client_on", "the client's thread runs"),
    ("end", "client: its read returns"),
]
ORDER = [step[0] for step in STEPS]


def put(name, text):
    with open(os.path.join(TRACING, name), "w") as f:
        f.write(text)


def record(command):
    os.mkdir(TRACING)
    try:
        put("buffer_size_kb", "65536")
        put("trace_clock", "mono")
        put("options/event-fork", "1")
        put("set_event_pid", str(os.getpid()))
        for event in EVENTS:
            put("events/%s/enable" % event.replace(":", "/"), "1")
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        put("tracing_on", "0")
        with open(os.path.join(TRACING, "trace")) as f:
            return out, f.readlines()
    finally:
        for event in EVENTS:
            put("events/%s/enable" % event.replace(":", "/"), "0")
        os.rmdir(TRACING)


class Event:
    def __init__(self, comm, tid, us, name, text):
        self.comm, self.tid, self.us, self.name, self.text = comm, tid, us, name, text


def parse(lines):
    for line in lines:
        m = LINE.match(line)
        if m:
            yield Event(m[1].strip(), int(m[2]), float(m[4]) * 1e6, m[5], m[6])


def is_call(e, number):
    return e.text.startswith("NR %d " % number)


def field(text, name):
    m = re.search(r"\b%s=(\d+)" % name, text)
    return int(m[1]) if m else -1


class Trip:
    """One round trip, from the client's write on."""

    def __init__(self, start_us):
        self.seen, self.marks, self.start_us = [], {}, start_us
        self.counts = collections.Counter()

    def see(self, name, us):
        self.seen.append((name, us))

    def last(self, name, before_us):
        return max((us for n, us in self.seen if n == name and us <= before_us), default=None)

    def first(self, name, after_us, before_us):
        return min((us for n, us in self.seen if n == name and after_us <= us <= before_us),
                   default=None)

    def finish(self, end_us):
        """Back from the end, so that what counts is what the answer waited for."""
        at = {"end": end_us, "answer": self.last("client woken", end_us)}
        if at["answer"] is None:
            return False
        at["client_on"] = self.first("client", at["answer"], end_us)
        at["kick"] = self.last("doorbell", at["answer"])
        until = at["answer"] if at["kick"] is None else at["kick"]
        if at["kick"] is not None:
            at["monitor_again"] = self.first("monitor", at["kick"], at["answer"])
        at["eoi"] = self.last("eoi", until)
        at["irq"] = self.last("interrupt", until if at["eoi"] is None else at["eoi"])
        if at["irq"] is None:
            return False
        at["vcpu_on"] = self.first("vcpu", at["irq"], until)
        at["wake"] = self.first("monitor woken", self.start_us, at["irq"])
        at["monitor_on"] = self.first("monitor", self.start_us, at["irq"])
        self.marks = {name: us for name, us in at.items() if us is not None}
        return True

    def signature(self):
        return tuple(name for name in ORDER if name in self.marks)


class Reader:
    def __init__(self, events):
        self.vcpus = {e.tid for e in events if e.name == "kvm_mmio"}
        calls = collections.Counter(e.tid for e in events if e.comm == CLIENT and
                                    e.name == "sys_enter" and is_call(e, WRITE))
        self.client = calls.most_common(1)[0][0]
        self.monitors = self.monitors_find(events)
        self.trips = {name: [] for name in self.monitors.values()}
        self.trip = self.monitor = None
        for e in events:
            self.take(e)

    def monitors_find(self, events):
        """The threads that wake the client, in the order in which they were made."""
        waking = collections.Counter((e.comm, e.tid) for e in events if e.name == "sched_waking" and
                                     field(e.text, "pid") == self.client)
        found = {}
        for comm, names in MONITORS.items():
            tids = [t for (c, t), _ in waking.most_common() if c == comm][:len(names)]
            found.update(zip(sorted(tids), names))
        return found

    def take(self, e):
        if e.tid == self.client and e.name == "sys_enter" and is_call(e, WRITE):
            self.trip, self.monitor = Trip(e.us), None
            return
        trip = self.trip
        if not trip:
            return
        if e.name == "sched_waking":
            self.waking(trip, e)
        elif e.name == "sched_switch":
            self.switch(trip, e)
        elif e.name == "kvm_msi_set_irq":
            trip.counts["interrupts"] += 1
            trip.see("interrupt", e.us)
        elif e.name in ("kvm_mmio", "kvm_fast_mmio"):
            self.mmio(trip, e)
        elif e.tid == self.client:
            if e.name == "sys_exit" and e.text.startswith("NR %d = 64" % READ):
                self.over(trip, e.us)
        elif e.name == "sys_enter" and e.tid in self.monitors:
            trip.counts["the monitor's system calls"] += 1

    def waking(self, trip, e):
        pid = field(e.text, "pid")
        if e.tid == self.client and pid in self.monitors:
            trip.see("monitor woken", e.us)
        elif pid == self.client and e.tid in self.monitors:
            trip.see("client woken", e.us)

    def switch(self, trip, e):
        pid = field(e.text, "next_pid")
        if pid in self.vcpus:
            trip.counts["switches to the vCPU"] += 1
            trip.see("vcpu", e.us)
        elif pid in self.monitors:
            trip.counts["switches to the monitor"] += 1
            self.monitor = self.monitors[pid]
            trip.see("monitor", e.us)
        elif pid == self.client:
            trip.see("client", e.us)

    @staticmethod
    def mmio(trip, e):
        if EOI in e.text:
            trip.see("eoi", e.us)
        elif "write" in e.text or e.name == "kvm_fast_mmio":
            trip.counts["doorbells"] += 1
            trip.see("doorbell", e.us)

    def over(self, trip, end_us):
        if self.monitor and trip.finish(end_us):
            self.trips[self.monitor].append(trip)
        self.trip = None


class Column:
    """What is printed of one monitor: its trips of the kind that it has most of."""

    def __init__(self, name, trips):
        kinds = collections.Counter(t.signature() for t in trips)
        self.kind, count = kinds.most_common(1)[0]
        self.title = name
        self.share = 100 * count / len(trips)
        self.trips = [t for t in trips if t.signature() == self.kind]

    def step(self, name):
        if name not in self.kind:
            return None
        at = self.kind.index(name)
        return statistics.median(
            t.marks[name] - (t.marks[self.kind[at - 1]] if at else t.start_us)
            for t in self.trips)

    def whole(self):
        return statistics.median(t.marks["end"] - t.start_us for t in self.trips)

    def count(self, what):
        return statistics.mean(t.counts[what] for t in self.trips)


def row(text, cells, form):
    shown = ["-" if c is None else form % c for c in cells]
    print("%-58s" % text + "".join("%12s" % c for c in shown))


def report(trips):
    columns = [Column(n, t) for n, t in trips.items() if t]
    row("microseconds, medians", [c.title for c in columns], "%s")
    for name, text in STEPS:
        row(text, [c.step(name) for c in columns], "%.1f")
    row("all", [c.whole() for c in columns], "%.1f")
    for what in sorted({k for c in columns for t in c.trips for k in t.counts}):
        row(what + ", each", [c.count(what) for c in columns], "%.2f")
    row("round trips of this kind", [len(c.trips) for c in columns], "%d")
    row("which are of all, %", [c.share for c in columns], "%.0f")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    command = sys.argv[1:] + ["--duration", "0.8", "--repeat", "4"]
    out, lines = record(command)
    print(out)
    report(Reader(list(parse(lines))).trips)


main()
