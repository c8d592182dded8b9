#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ringtrace with a real daemon: its counts equal the daemon's own, it detaches, it says what lacks."""
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

RINGVISOR = os.environ.get("RINGVISOR", "ringvisor")
RINGCTL = os.environ.get("RINGCTL", "ringctl")
RINGTRACE = os.environ.get("RINGTRACE", "ringtrace")
OK, FAILURE, USAGE, NO_DAEMON, NOT_POSSIBLE = range(5)


class Tracer:
    """A ringtrace that is attached when this returns; end() gives what it printed."""

    def __init__(self, daemon, *arguments):
        self.errors = []
        self.process = subprocess.Popen([RINGTRACE, "--pid", str(daemon), *arguments],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.output = None
        for line in self.process.stderr:
            self.errors.append(line)
            if "attached to process" in line:
                break
        else:
            raise AssertionError(f"ringtrace ended: {self.errors}")
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        self.more = threading.Thread(target=lambda: self.errors.extend(self.process.stderr))
        self.more.start()

    def _read(self):
        self.output = self.process.stdout.read()

    def finish(self):
        if self.process.poll() is None:
            self.end(signal.SIGKILL)

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        status = self.process.wait(timeout=60)
        self.reader.join()
        self.more.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return status


def semaphores(pid):
    """name → the probe's semaphore as it is in the process."""
    text = subprocess.run(["readelf", "-n", "-W", f"/proc/{pid}/exe"], check=True,
                          capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout
    notes = re.findall(r"Provider: ringvisor\s+Name: (\w+)\s+Location: \S+ Base: \S+ "
                       r"Semaphore: 0x([0-9a-f]+)", text)
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        base = int(next(line for line in maps if line.rstrip().endswith("/ringvisor")).split("-")[0], 16)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        values = {}
        for name, address in notes:
            memory.seek(base + int(address, 16))
            values[name] = struct.unpack("<H", memory.read(2))[0]
    return values


class RingtraceTest(unittest.TestCase):
    def setUp(self):
        self.failed = []
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.socket = os.path.join(self.folder.name, "s")
        self.daemon = subprocess.Popen([RINGVISOR, "serve", "--socket", self.socket],
                                       stderr=subprocess.DEVNULL)
        self.addCleanup(self.kill_daemon)
        deadline = time.monotonic() + 30
        while not os.path.exists(self.socket):
            self.assertIsNone(self.daemon.poll(), "the daemon does not start")
            self.assertLess(time.monotonic(), deadline, "the daemon makes no socket")
            time.sleep(0.01)

    def kill_daemon(self):
        if self.daemon.poll() is None:
            self.daemon.kill()
        self.daemon.wait()

    def ctl(self, *arguments, given=b""):
        done = subprocess.run([RINGCTL, "--socket", self.socket, *arguments], input=given,
                              capture_output=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, (arguments, done.stdout, done.stderr))
        return done.stdout.decode()

    def launch(self, name, *more):
        self.ctl("launch", name, "-d", "--memory", "32M", *more)

    def tell(self, name, *commands):
        """Commands to the guest's shell; returns when it has answered and waits for more."""
        shell = subprocess.Popen([RINGCTL, "--socket", self.socket, "attach", name, "--serial"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        guard = threading.Timer(60, shell.kill)
        guard.start()
        shell.stdin.write(("\n".join(commands) + "\n").encode())
        shell.stdin.flush()
        said = b""
        while said.count(b"VERDICT") < len(commands) or not said.endswith(b"\n> "):
            more = shell.stdout.read1(4096)
            if not more:
                break
            said += more
        guard.cancel()
        shell.kill()
        shell.wait()
        shell.stdin.close()
        shell.stdout.close()
        if said.count(b" ok\r\n") + said.count(b" ok\n") < len(commands):
            self.failed.append((name, said))

    def metrics(self, guest):
        """family or family{reason} → count, of the guest's counters; twice the same, so at rest."""
        before = None
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = {}
            for family, reason, value in re.findall(
                    r'^ringvisor_guest_(exits|kicks|irqs)_total\{guest="%s"(?:,reason="(\w+)")?\}'
                    r" (\d+)$" % guest, self.ctl("metrics"), re.M):
                found[reason or family] = int(value)
            if found == before:
                return found
            before = found
        raise AssertionError(f"the guest is never at rest: {before}")

    def trace(self, *arguments):
        tracer = Tracer(self.daemon.pid, *arguments)
        self.addCleanup(tracer.finish)
        return tracer

    def rows(self, tracer):
        self.assertEqual(tracer.end(), OK, tracer.errors)
        result = json.loads(tracer.output)
        self.assertEqual(result["lost"], 0)
        for row in result["rows"]:
            self.assertEqual(sum(count for _, count in row["slots"]), row["measured"], row)
            self.assertLessEqual(row["measured"], row["count"], row)
        return result["rows"]

    @staticmethod
    def exits_by_bpf(rows, guest):
        sums = {}
        for row in rows:
            if row["kind"] == "exit to re-entry" and row["guest"] == guest:
                reason = row["label"].split()[0].removeprefix("KVM_EXIT_").lower()
                sums[reason] = sums.get(reason, 0) + row["count"]
        return sums

    def settled(self, tracer, guests):
        """(rows, metrics by guest), both of a time when nothing moved."""
        before = {name: self.metrics(name) for name in guests}
        rows = self.rows(tracer)
        self.assertEqual(self.failed, [])
        self.assertEqual({name: self.metrics(name) for name in guests}, before)
        return rows, before

    @staticmethod
    def total(rows, kind, guest):
        return sum(row["count"] for row in rows if (row["kind"], row["guest"]) == (kind, guest))

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
        tracer = self.trace("top", "--interval", "0.2", "--duration", "1.5")
        self.launch("tiny")
        self.assertEqual(tracer.wait(), OK)
        self.assertRegex(tracer.output, r"(?m)^tiny +\d")
        self.assertRegex(tracer.output, r"(?m)^GUEST +EXITS/s")

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

    def refused(self, status, *command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, status, (command, done.stderr))
        return done.stderr

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


def reason_to_skip():
    if os.environ.get("PROBES") == "OFF":
        return "built without probes"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm cannot be opened"
    done = subprocess.run([RINGTRACE, "-p", "4194304", "top"], capture_output=True, text=True,
                          timeout=60, check=False)
    return done.stderr.strip() if done.returncode == NOT_POSSIBLE else None


if __name__ == "__main__":
    reason = reason_to_skip()
    if reason:
        print("skipped:", reason)
        sys.exit(77)
    unittest.main()
