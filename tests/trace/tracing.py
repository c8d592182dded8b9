#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the tests of ringtrace share: a daemon with guests, a tracer, the daemon's own counts."""
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import daemon  # noqa: E402

RINGCTL = os.environ.get("RINGCTL", "ringctl")
RINGTRACE = os.environ.get("RINGTRACE", "ringtrace")
ECHO = 7  # the guest's vsock port
MESSAGE = b"x" * 64
OK, FAILURE, USAGE, NO_DAEMON, NOT_POSSIBLE = range(5)


class Tracer:
    """A ringtrace that is attached when this returns; end() gives what it printed."""

    def __init__(self, pid, *arguments):
        self.errors = []
        self.process = subprocess.Popen([RINGTRACE, "--pid", str(pid), *arguments],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.output = ""
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
        for line in self.process.stdout:
            self.output += line

    def wait_for(self, pattern, meanwhile=lambda: time.sleep(0.01)):
        """Until it has printed a line like that."""
        deadline = time.monotonic() + daemon.PATIENCE
        while not re.search(pattern, self.output, re.M):
            if time.monotonic() > deadline or not self.reader.is_alive():
                raise AssertionError(f"{pattern} did not come: {self.output}")
            meanwhile()

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


class TraceCase(daemon.ToolCase):
    def setUp(self):
        super().setUp()
        self.failed = []

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

    def trace_at_rest(self, read, *arguments):
        """(a tracer, what `read` gave before it came): nothing moved until it was there."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            before = read()
            tracer = self.trace(*arguments)
            if read() == before:
                return tracer, before
            tracer.end()
        raise AssertionError(f"the guests are never at rest: {before}")

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

    def vsock_guest(self, name, cid):
        path = os.path.join(self.folder.name, name)
        self.launch(name, "--virtio-vsock", "on", "--vsock-uds-path", path, "--guest-cid", str(cid))
        self.tell(name, "help")  # its driver is there when its shell is
        return path

    def connect(self, path):
        """A connection to the guest's echo, by the Unix socket."""
        deadline = time.monotonic() + 30
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(30)
            client.connect(path)
            client.sendall(b"CONNECT %d\n" % ECHO)
            answer = b""
            while not answer.endswith(b"\n"):
                more = client.recv(1)
                if not more:
                    break
                answer += more
            if answer.startswith(b"OK "):
                return client
            client.close()
            self.assertLess(time.monotonic(), deadline, answer)

    def echo(self, path, rounds):
        with self.connect(path) as client:
            for _ in range(rounds):
                client.sendall(MESSAGE)
                left = len(MESSAGE)
                while left:
                    left -= len(client.recv(left))

    def refused(self, status, *command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, status, (command, done.stderr))
        return done.stderr


def reason_to_skip():
    if os.environ.get("PROBES") == "OFF":
        return "built without probes"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm cannot be opened"
    done = subprocess.run([RINGTRACE, "-p", "4194304", "top"], capture_output=True, text=True,
                          timeout=60, check=False)
    return done.stderr.strip() if done.returncode == NOT_POSSIBLE else None


def main():
    reason = reason_to_skip()
    if reason:
        print("skipped:", reason)
        sys.exit(77)
    unittest.main()
