#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each of examples/bpftrace runs against a daemon with a busy guest and shows something."""
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import daemon  # noqa: E402
from tracing import semaphores  # noqa: E402

RINGCTL = os.environ.get("RINGCTL", "ringctl")
SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "bpftrace")


class BpftraceTest(daemon.ToolCase):
    def ctl(self, *arguments, given=b""):
        subprocess.run([RINGCTL, "--socket", self.socket, *arguments], input=given, check=True,
                       capture_output=True, timeout=60)

    def echo(self, path):
        """A message to the guest's echo and back, as soon as the guest listens."""
        deadline = time.monotonic() + 30
        said = b""
        while said != b"hello":
            self.assertLess(time.monotonic(), deadline, said)
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(30)
                client.connect(path)
                client.sendall(b"CONNECT 7\n")
                if client.recv(64).startswith(b"OK "):
                    client.sendall(b"hello")
                    said = daemon.receive(client, 5)

    def wait_attached(self, script):
        """BEGIN is run before the script's other probes are attached."""
        names = set(re.findall(r"^usdt:.*:ringvisor:(\w+)", script, re.M))
        deadline = time.monotonic() + daemon.PATIENCE
        while not all(semaphores(self.daemon.pid)[name] for name in names):
            self.assertLess(time.monotonic(), deadline, names)
            time.sleep(0.05)

    def run_script(self, path):
        with open(path, encoding="utf-8") as script:
            text = script.read()
        tracer = subprocess.Popen(["bpftrace", "-p", str(self.daemon.pid), "-e",
                                   text + '\nBEGIN { printf("attached\\n"); }'],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  env={**os.environ, "BPFTRACE_STRLEN": "64"},
                                  # A shell may have us ignore it, which is inherited.
                                  preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        said = ""
        for line in tracer.stdout:
            said += line
            if line == "attached\n":
                break
        if tracer.poll() is None:
            self.wait_attached(text)
            path = os.path.join(self.folder.name, "vsock")
            self.ctl("launch", "busy", "-d", "--memory", "32M", "--virtio-rng", "on",
                     "--virtio-vsock", "on", "--vsock-uds-path", path)
            self.echo(path)
            self.ctl("attach", "busy", "--serial", given=b"rng 10000 irq\nhalt\n")
            tracer.send_signal(signal.SIGINT)
        out, err = tracer.communicate(timeout=60)
        self.assertEqual(tracer.returncode, 0, said + out + err)
        return out

    def test_examples(self):
        scripts = sorted(glob.glob(os.path.join(SCRIPTS, "*.bt")))
        self.assertTrue(scripts)
        for path in scripts:
            with self.subTest(os.path.basename(path)):
                out = self.run_script(path)
                self.assertRegex(out, r"(?m)^@\w*\[.*\]:", out)


if __name__ == "__main__":
    if not shutil.which("bpftrace"):
        print("skipped: bpftrace is not installed")
        sys.exit(77)
    if os.environ.get("PROBES") == "OFF":
        print("skipped: built without probes")
        sys.exit(77)
    if os.geteuid() or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skipped: needs root and /dev/kvm")
        sys.exit(77)
    unittest.main()
