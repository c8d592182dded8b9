#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The example programs of the client library against a daemon of their own."""

import os
import select
import socket
import subprocess
import sys
import tempfile
import unittest

RINGVISOR = os.environ.get("RINGVISOR", "ringvisor")
EXAMPLES = os.environ.get("EXAMPLES", "examples")
DEADLINE = 60


class Examples(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.socket = os.path.join(folder.name, "s")
        # READY comes by sd_notify's protocol: no guessing when the daemon listens.
        notify = os.path.join(folder.name, "n")
        self.ready = self.listen(notify)
        self.daemon = subprocess.Popen([RINGVISOR, "serve", "--socket", self.socket],
                                       env={**os.environ, "NOTIFY_SOCKET": notify},
                                       stdin=subprocess.DEVNULL)
        self.addCleanup(self.stop)
        self.wait_ready()

    def listen(self, path):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        sock.bind(path)
        self.addCleanup(sock.close)
        return sock

    def wait_ready(self):
        while True:
            readable, _, _ = select.select([self.ready], [], [], DEADLINE)
            self.assertTrue(readable, "the daemon never said READY=1")
            if b"READY=1" in self.ready.recv(4096):
                return

    def stop(self):
        self.daemon.terminate()
        self.daemon.wait(DEADLINE)

    def example(self, name, *args):
        return subprocess.run([os.path.join(EXAMPLES, "example_" + name), *args],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=DEADLINE, check=False)

    def test_launch_shows_the_guest_and_stops_it(self):
        for _ in range(3):
            result = self.example("launch", "--socket", self.socket, "web")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("Ringvisor", result.stdout)
            self.assertEqual(result.stderr, "")

    def test_launch_fails_for_a_bad_name(self):
        result = self.example("launch", "--socket", self.socket, "Bad_Name")
        self.assertEqual(result.returncode, 1)
        self.assertIn("Bad_Name", result.stderr)
        self.assertIn("INVALID_ARGS", result.stderr)

    def test_launch_says_that_no_daemon_is_there(self):
        result = self.example("launch", "--socket", self.socket + "x")
        self.assertEqual(result.returncode, 1)
        self.assertIn("ENOENT", result.stderr)

    def test_vsock_talks_both_ways(self):
        for _ in range(3):
            result = self.example("vsock", "--socket", self.socket, "web")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(result.stdout, "echo: hello, guest\nguest: hello, host\n")
            self.assertEqual(result.stderr, "")

    def test_watch_sees_how_the_run_ends(self):
        for _ in range(3):
            result = self.example("watch", "--socket", self.socket, "web")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("run ended: CONTROLLER_FORCED_HALT", result.stdout)
            self.assertEqual(result.stderr, "")


if __name__ == "__main__":
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("no /dev/kvm: skipped")
        sys.exit(77)
    unittest.main(verbosity=2)
