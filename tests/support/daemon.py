# SPDX-License-Identifier: Apache-2.0
"""A daemon of a test's own: `ringvisor serve` in a temporary folder, always ended.

    with Daemon() as daemon:
        client = daemon.client()

The program is that of the environment variable RINGVISOR. Nothing here sleeps to wait: the daemon
says by sd_notify when it is ready, and everything else is a descriptor, a process or a reply.
"""
import contextlib
import os
import re
import resource
import select
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import wire

SKIPPED = 77  # what ctest takes for "could not run here"
PATIENCE = wire.PATIENCE
PROMPT = b"> "


def require_kvm():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skipped: /dev/kvm cannot be used here")
        sys.exit(SKIPPED)


def program():
    return os.environ["RINGVISOR"]


def sanitized():
    """A sanitizer's allocator keeps what is freed, and ends a program that is short of memory."""
    return any(f"/{kind}/" in program() for kind in ("asan", "tsan"))


def receive(sock, size):
    """Exactly so many bytes, less only before the end. MSG_WAITALL does not wait on a socket with a
    timeout."""
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data


NOBODY = 65534


def as_nobody(*command):
    """The command as a user that is not root; for root, who may hand on the use of /dev/kvm."""
    allowed = "+dac_override"
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
            f"--inh-caps={allowed}", f"--ambient-caps={allowed}", *command]


class Daemon:
    """`command` stands before the arguments: the program, or another that becomes it."""

    def __init__(self, *args, env=None, command=None, **popen):
        self.folder = tempfile.TemporaryDirectory(prefix="rv")
        self.path = os.path.join(self.folder.name, "sock")
        self.errors = open(os.path.join(self.folder.name, "stderr"), "w+", encoding="utf-8")
        self.clients = []
        self.process = None
        ready = os.path.join(self.folder.name, "ready")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(ready)
        try:
            os.chmod(ready, 0o777)
            self.process = subprocess.Popen(
                [*(command or [program()]), "serve", "--socket", self.path, *args],
                stderr=self.errors,
                env={**os.environ, "NOTIFY_SOCKET": ready, **(env or {})}, **popen)
            self.wait_ready()
        except BaseException:
            self.end()
            raise

    def wait_ready(self):
        deadline = time.monotonic() + PATIENCE
        while not select.select([self.notify], [], [], 0.05)[0]:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the daemon did not get ready: {self.said()}")
        state = self.notify.recv(100)
        if state != b"READY=1":
            raise AssertionError(f"the daemon notified {state}")

    @property
    def pid(self):
        return self.process.pid

    def said(self):
        self.errors.seek(0)
        return self.errors.read()

    def client(self, timeout=PATIENCE):
        client = wire.Client(self.path, timeout)
        self.clients.append(client)
        return client

    def raw(self):
        """A plain connected socket."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE)
        sock.connect(self.path)
        return sock

    def stop(self):
        """SIGTERM; the daemon has to leave with status 0 and without a word."""
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        said = self.said()
        if status or said:
            raise AssertionError(f"the daemon left with {status} and said: {said}")

    def end(self):
        for client in self.clients:
            client.close()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.errors.close()
        self.notify.close()
        self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None and self.process.poll() is None:
                self.stop()
        finally:
            self.end()

    @contextlib.contextmanager
    def limited(self, resource_name, value):
        """Within it the daemon has no more than that of a resource: "AS", "NOFILE"."""
        which = getattr(resource, "RLIMIT_" + resource_name)
        old = resource.prlimit(self.pid, which)
        resource.prlimit(self.pid, which, (value, old[1]))
        try:
            yield
        finally:
            resource.prlimit(self.pid, which, old)

    # What the daemon uses, by /proc.

    def status(self, field):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as lines:
            return int(re.search(rf"^{field}:\s+(\d+)", lines.read(), re.MULTILINE)[1])

    def cpu_ticks(self):
        """Processor time of all its threads, in hundredths of a second."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as line:
            fields = line.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def fds(self):
        found = []
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed in this moment
                found.append(os.readlink(f"/proc/{self.pid}/fd/{fd}"))
        return sorted(found)

    def threads(self):
        """Their names, without those that come and go as needed: the reactors' helpers, and the
        kernel's own for a ring."""
        names = []
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
                    open(f"/proc/{self.pid}/task/{task}/comm", encoding="ascii") as comm:
                names.append(comm.read().strip())
        return sorted(name for name in names if not re.match("ringvisor-help|iou-wrk", name))

    def mappings(self):
        with open(f"/proc/{self.pid}/maps", encoding="ascii") as lines:
            return sum(1 for _ in lines)


class Serial:
    """A guest's serial port as bytes."""

    def __init__(self, sock):
        self.sock, self.data = sock, b""
        sock.settimeout(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def expect(self, what):
        """Reads until `what`; returns all up to it."""
        while what not in self.data:
            more = self.sock.recv(4096)
            if not more:
                raise AssertionError(f"the end came instead of {what}: {self.data}")
            self.data += more
        at = self.data.index(what) + len(what)
        got, self.data = self.data[:at], self.data[at:]
        return got

    def send(self, line):
        self.sock.sendall(line.encode() + b"\n")

    def command(self, line):
        """One command of the embedded guest's shell; its output."""
        self.send(line)
        return self.expect(PROMPT)


class ToolCase(unittest.TestCase):
    """For tests of programs that are used beside a daemon: `socket` is where it listens, `daemon` its
    process, `folder` has room for files."""

    def setUp(self):
        served = Daemon()
        self.addCleanup(served.end)
        self.socket, self.daemon, self.folder = served.path, served.process, served.folder


class Case(unittest.TestCase):
    """Tests that share nothing: each gets a daemon and a client, and both must end well."""

    ARGUMENTS = ()

    def setUp(self):
        self.daemon = Daemon(*self.ARGUMENTS)
        self.addCleanup(lambda: self.daemon.end())  # the daemon of then
        self.addCleanup(self.report)
        self.client = self.daemon.client()

    def become_nobody(self):
        """Another daemon, which is not root's unless this test is not either."""
        if os.geteuid() == 0:
            self.daemon.stop()
            self.daemon.end()
            self.daemon = Daemon(*self.ARGUMENTS, command=as_nobody(program()))
            self.client = self.daemon.client()

    @contextlib.contextmanager
    def without_threads(self):
        """Within it the daemon can start no thread. Call become_nobody first: no limit of
        processes holds for root."""
        def limit(value):
            command = ["prlimit", f"--pid={self.daemon.pid}", f"--nproc={value}:"]
            if os.geteuid() == 0:  # which may lack the capability for another's process
                command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                           *command]
            subprocess.run(command, check=True)

        old = resource.getrlimit(resource.RLIMIT_NPROC)[0]  # which the daemon has inherited
        limit(0)
        try:
            yield
        finally:
            limit("unlimited" if old == resource.RLIM_INFINITY else old)

    def report(self):
        """What a daemon said that ended badly belongs to the failure."""
        status, said = self.daemon.process.poll(), self.daemon.said()
        if status or said:
            print(f"the daemon (status {status}) said: {said}", file=sys.stderr)

    def tearDown(self):
        if self.daemon.process.poll() is None:
            self.daemon.stop()

    def refused(self, domain, name, call, *args, **more):
        """The CallError of a call that has to fail so, with a detail a person can act on."""
        with self.assertRaises(wire.CallError) as caught:
            call(*args, **more)
        error = caught.exception
        self.assertEqual((error.domain, error.name), (domain, name), error.detail)
        self.assertGreater(len(error.detail), 10, error.detail)
        return error

    def fds_at_rest(self):
        """The daemon's descriptors; by now it has closed those that its earlier replies carried."""
        self.client.info()
        return self.daemon.fds()

    def until(self, condition):
        """Asks again and again, for things of which nobody is told."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), deadline, "it did not come to pass")

    def guest_error(self, name, call, *args, **more):
        return self.refused(wire.GUEST_ERROR, name, call, *args, **more)

    def manager_error(self, name, call, *args, **more):
        return self.refused(wire.MANAGER_ERROR, name, call, *args, **more)

    def status(self, name, client=None):
        number = (client or self.client).get_info(name)["guest_status"]
        return wire.GUEST_STATUSES[number]

    def running(self, name="web", **config):
        """A lifecycle whose guest runs: (lifecycle, its Run, a Guest)."""
        lifecycle = self.client.open_lifecycle(name)
        lifecycle.create(wire.builtin(**config))
        guest = lifecycle.bind()
        return lifecycle, lifecycle.run(), guest

    def shell(self, guest):
        """The shell of the embedded guest, once it waits for commands."""
        serial = Serial(guest.serial())
        self.addCleanup(serial.sock.close)
        serial.expect(PROMPT)
        return serial


def main():
    require_kvm()
    unittest.main(verbosity=2)
