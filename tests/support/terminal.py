# SPDX-License-Identifier: Apache-2.0
"""A program on a pseudo-terminal, for tests of what it does with one."""
import errno
import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time

PATIENCE = 60  # seconds; for a slow, busy machine under a sanitizer


class Terminal:
    """with Terminal([program, …]) as t: t.expect(b"…"), t.type(b"…"), t.settings(), t.wait()

    With `job` the program is one that a shell could stop: in the test's session, where it does not
    own the terminal; else it leads a session of its own on it."""

    def __init__(self, command, env=None, job=False):
        self.master, self.slave = pty.openpty()
        self.output = b""
        self.before = self.settings()
        environment = {**os.environ, "TERM": "xterm", **(env or {})}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            command, stdin=self.slave, stdout=self.slave, stderr=self.slave, env=environment,
            preexec_fn=os.setpgrp if job else self._become_leader)

    def _become_leader(self):
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def type(self, data):
        os.write(self.master, data)

    def read(self, timeout):
        """What is there within the time; False at the end."""
        if not select.select([self.master], [], [], max(timeout, 0))[0]:
            return
        try:
            self.output += os.read(self.master, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise

    def drain(self):
        """Takes in what is there, and forgets it; of a program that is stopped, all."""
        while select.select([self.master], [], [], 0)[0]:
            self.read(0)
        self.output = b""

    def expect(self, text, timeout=PATIENCE):
        """Reads until `text` has been printed; forgets all up to there."""
        deadline = time.monotonic() + timeout
        while text not in self.output:
            if time.monotonic() > deadline:
                raise AssertionError(f"{text!r} did not come; got {self.output!r}")
            self.read(0.1)
        at = self.output.index(text) + len(text)
        before, self.output = self.output[:at], self.output[at:]
        return before

    def settings(self):
        return termios.tcgetattr(self.slave)

    def set(self, settings):
        termios.tcsetattr(self.slave, termios.TCSANOW, settings)

    def is_raw(self):
        return not self.settings()[3] & (termios.ICANON | termios.ECHO)

    def send_signal(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTSTP):
        """Sends it and waits until the program is stopped."""
        self.send_signal(number)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        state = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOHANG)
        if not state or state.si_status != number:
            raise AssertionError(f"the program was not stopped by signal {number}: {state}")

    def wait_raw(self, timeout=PATIENCE):
        deadline = time.monotonic() + timeout
        while not self.is_raw():
            if time.monotonic() > deadline:
                raise AssertionError("the terminal does not become raw")
            self.read(0.01)

    def wait(self, timeout=PATIENCE):
        """The exit status; negative if a signal ended it."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"it does not end; printed {self.output!r}")
            self.read(0.02)
        self.read(0)
        return self.process.returncode


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
