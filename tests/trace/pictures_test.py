#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ringtrace flame, timeline and --plot; what is said where the host lacks something."""
import collections
import json
import os
import re
import subprocess

from tracing import FAILURE, NOT_POSSIBLE, OK, RINGTRACE, USAGE, TraceCase, main
import mounts  # found by the path that tracing adds


class PicturesTest(TraceCase):
    def busy(self, *names):
        for name in names:
            self.launch(name, "--virtio-rng", "on")
        for name in names:
            self.tell(name, "rng 200000 irq", "exits pio-write 300 0x80")

    def test_flame(self):
        """Folded stacks of the reactor, and no other thread's, down to its loop."""
        tracer = self.trace("flame")
        self.busy("one")
        for _ in range(20):
            self.ctl("metrics")
        self.assertEqual(tracer.end(), OK, tracer.errors)
        lines = tracer.output.splitlines()
        self.assertTrue(lines, tracer.errors)
        for line in lines:
            self.assertRegex(line, r"^reactor-0(;[^; ]+)+ \d+$")
        counted = sum(int(line.rsplit(" ", 1)[1]) for line in lines)
        self.assertIn(f"{counted} samples\n", "".join(tracer.errors))
        self.assertIn(";reactor_run;", tracer.output)
        self.assertIn("_[k]", tracer.output)
        self.assertNotIn("vcpu_", tracer.output)

    def test_timeline(self):
        tracer = self.trace("timeline", "60000", "--guest", "one")
        path = self.vsock_guest("one", 3)
        self.echo(path, 20)
        self.tell("one", "exits pio-write 300 0x80")
        self.busy("two")
        self.assertEqual(tracer.end(), OK, tracer.errors)
        trace = json.loads(tracer.output)
        self.assertEqual(trace["otherData"]["lost"], 0)
        self.assertGreater(trace["otherData"]["events"], 600)
        lanes, slices, arrows = {}, collections.Counter(), collections.defaultdict(list)
        for event in trace["traceEvents"]:
            where = event["pid"], event["tid"]
            if event["ph"] == "M":
                lanes.setdefault(where, set()).add(event["args"]["name"])
            elif event["ph"] == "X":
                self.assertGreaterEqual(event["dur"], 0, event)
                self.assertGreaterEqual(event["ts"], 0, event)
                slices[event["name"].split(",")[0]] += 1
                self.assertIn(where, lanes)
            else:
                arrows[event["id"]].append((event["ts"], event["ph"], event["pid"]))
        names = set().union(*lanes.values())
        self.assertLessEqual({"guest one", "reactors", "vcpu 0", "reactor 0",
                              "virtio-vsock queue 1"}, names)
        self.assertEqual(slices["KVM_EXIT_IO write 0x80"], 300)
        self.assertGreater(slices["turn"], 0)
        self.assertGreater(slices["in the guest"], 300)
        self.assertGreater(slices["kick to completion"], 0)
        whole = [points for points in arrows.values() if len(points) == 3]
        self.assertTrue(whole, arrows)
        for points in whole:
            self.assertEqual("".join(phase for _, phase, _ in sorted(points)), "stf", points)

    def test_timeline_has_the_last_milliseconds_only(self):
        tracer = self.trace("timeline", "1", "--guest", "one")
        self.busy("one")
        self.assertEqual(tracer.end(), OK, tracer.errors)
        trace = json.loads(tracer.output)
        ends = [event["ts"] + event.get("dur", 0) for event in trace["traceEvents"] if "ts" in event]
        self.assertLess(max(ends, default=0), 1000.2)

    def test_plot(self):
        for name, start in (("it's.svg", b"<?xml"), ("p.png", b"\x89PNG")):
            path = os.path.join(self.folder.name, name)
            tracer = self.trace("hist", "exits", "turn", "--plot", path)
            if name == "p.png":
                self.busy("one")
            self.assertEqual(tracer.end(), OK, tracer.errors)
            with open(path, "rb") as picture:
                self.assertEqual(picture.read(len(start)), start)
        pid = str(self.daemon.pid)
        self.assertIn("neither .svg nor .png",
                      self.refused(USAGE, RINGTRACE, "-p", pid, "hist", "exits", "--plot", "a.jpg"))
        said = self.refused(FAILURE, RINGTRACE, "-p", pid, "-d", "0.1", "hist", "turn", "--plot",
                            "/nonexistent/a.svg")
        self.assertIn("gnuplot ended with status", said)
        empty = {**os.environ, "PATH": self.folder.name}
        done = subprocess.run([RINGTRACE, "-p", pid, "hist", "turn", "--plot", "a.svg"], env=empty,
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, USAGE)
        self.assertIn("gnuplot-nox", done.stderr)

    def test_mistakes(self):
        pid = str(self.daemon.pid)
        self.assertIn("of which guest", self.refused(USAGE, RINGTRACE, "-p", pid, "timeline"))
        self.assertIn("milliseconds",
                      self.refused(USAGE, RINGTRACE, "-p", pid, "-g", "a", "timeline", "soon"))
        self.assertIn("no --guest", self.refused(USAGE, RINGTRACE, "-p", pid, "-g", "a", "flame"))
        self.assertIn("hist only",
                      self.refused(USAGE, RINGTRACE, "-p", pid, "top", "--plot", "a.svg"))

    def test_completion(self):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "completions",
                              "ringtrace.bash")

        def complete(*words):
            listed = " ".join(f"'{word}'" for word in words)
            shell = (f". {script}; COMP_WORDS=(ringtrace {listed}); COMP_CWORD={len(words)}; "
                     '_ringtrace; printf "%s\\n" "${COMPREPLY[@]}"')
            return set(subprocess.run(["bash", "-c", shell], capture_output=True, text=True,
                                      timeout=60, check=True).stdout.split())

        usage = subprocess.run([RINGTRACE, "--help"], capture_output=True, text=True, timeout=60,
                               check=True).stdout
        self.assertEqual(complete("--"), set(re.findall(r"--\w+", usage)))
        self.assertEqual(complete(""), set(re.findall(r"(?m)^  ([a-z]+) ", usage)))
        kinds = self.refused(USAGE, RINGTRACE, "-p", str(self.daemon.pid), "hist", "all")
        kinds = kinds.split("is none of ")[1].replace(",", "").split()
        self.assertEqual(complete("hist", ""), set(kinds))

    def hidden(self, *folders):
        """A command line that runs the rest of it where these folders are empty."""
        return mounts.hiding(self, " && ".join(f"mount -t tmpfs none {folder}" for folder in folders))

    def test_a_host_that_lacks_something(self):
        pid = str(self.daemon.pid)
        said = self.refused(NOT_POSSIBLE, *self.hidden("/sys/kernel/btf"), RINGTRACE, "-p", pid,
                            "top")
        self.assertIn("CONFIG_DEBUG_INFO_BTF", said)
        said = self.refused(NOT_POSSIBLE, "setarch", "--uname-2.6", RINGTRACE, "-p", pid, "top")
        self.assertRegex(said, r"Linux 2\.6\.\S+ is too old: 6\.1 or later")
        said = self.refused(OK, *self.hidden("/sys/kernel/tracing", "/sys/kernel/debug"), RINGTRACE,
                            "-p", pid, "-d", "0.1", "hist", "kvm", "ring", "turn")
        for tracepoint in ("tp/kvm/kvm_pio", "tp/io_uring/io_uring_complete"):
            self.assertTrue(re.search(re.escape(tracepoint) + r" cannot be attached \(.*\): .* is not shown",
                                      said), said)


if __name__ == "__main__":
    main()
