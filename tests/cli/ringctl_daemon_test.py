#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ringctl and a real daemon with real guests, as a person uses the two."""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
# pylint: disable=wrong-import-position
import daemon
import terminal

RINGCTL = os.environ.get("RINGCTL", "ringctl")
OK, FAILURE, USAGE, NO_GUEST, UNREACHABLE = range(5)
PROMPT = b"> "


class DaemonTest(daemon.ToolCase):
    def command(self, *arguments):
        return [RINGCTL, "--socket", self.socket, *arguments]

    def ctl(self, *arguments, status=OK, given=b""):
        done = subprocess.run(self.command(*arguments), input=given, capture_output=True,
                              timeout=120, check=False)
        self.assertEqual(done.returncode, status, (arguments, done.stdout, done.stderr))
        return done.stdout.decode() if status == OK else done.stderr.decode()

    def status(self, name):
        return json.loads(self.ctl("info", name, "--json"))["status"]

    def test_a_guests_life(self):
        self.assertEqual(self.ctl("launch", "tiny", "-d", "--memory", "32M"), "tiny is running\n")
        self.assertIn("tiny   running", self.ctl("list"))
        self.assertIn("started already", self.ctl("launch", "tiny", "-d", status=FAILURE))
        deadline = time.monotonic() + daemon.PATIENCE
        while not (info := json.loads(self.ctl("info", "tiny", "--json")))["exits"]:
            self.assertLess(time.monotonic(), deadline, "its CPU does not run")
        self.assertEqual((info["cpus"], info["guest-memory"]), (1, 32 << 20))
        self.assertGreater(info["resident-bytes"], 0)
        out = self.ctl("attach", "tiny", given=b"echo hello\nhalt\n")
        self.assertIn("hello", out)
        self.assertIn("powering off", out)
        self.assertEqual(self.status("tiny"), "stopped")
        self.assertIn("not running", self.ctl("attach", "tiny", status=NO_GUEST))
        self.ctl("launch", "tiny", "-d", "--memory", "32M")
        self.assertEqual(self.ctl("stop", "tiny"), "tiny has stopped\n")
        self.assertEqual(self.status("tiny"), "stopped")
        self.ctl("stop", "tiny", status=NO_GUEST)

    def test_leave_and_come_back(self):
        with terminal.Terminal(self.command("launch", "tiny", "--memory", "32M")) as term:
            term.expect(PROMPT)
            self.assertTrue(term.is_raw())
            term.type(b"echo one\r")
            term.expect(b"VERDICT echo ok")
            term.type(b"\x01x")
            self.assertEqual(term.wait(), OK)
            self.assertEqual(term.settings(), term.before)
        self.assertEqual(self.status("tiny"), "running")
        with terminal.Terminal(self.command("attach", "tiny")) as term:
            term.type(b"echo two\r")
            term.expect(b"VERDICT echo ok")
            self.ctl("stop", "tiny")
            term.wait()
            self.assertEqual(term.settings(), term.before)

    def test_crash_is_a_failure(self):
        self.ctl("launch", "tiny", "-d", "--memory", "32M")
        err = self.ctl("attach", "tiny", given=b"crash mmio-exec\n", status=FAILURE)
        self.assertIn("VCPU_RUNTIME_FAILURE", err)
        info = json.loads(self.ctl("info", "tiny", "--json"))
        self.assertEqual(info["stop-error"], "VCPU_RUNTIME_FAILURE")

    def test_daemon_is_killed(self):
        with terminal.Terminal(self.command("launch", "tiny", "--memory", "32M")) as term:
            term.expect(PROMPT)
            self.daemon.kill()
            self.assertEqual(term.wait(), UNREACHABLE)
            self.assertEqual(term.settings(), term.before)
        self.ctl("list", status=UNREACHABLE)

    def test_daemon_is_stopped(self):
        self.ctl("launch", "tiny", "-d", "--memory", "32M")
        self.daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.daemon.wait(timeout=60), 0)
        self.ctl("list", status=UNREACHABLE)

    def test_refusals_are_the_daemons_own_words(self):
        err = self.ctl("launch", "Web", status=FAILURE)
        self.assertIn("Web", err)
        err = self.ctl("launch", "web", "--home-core", "7", status=USAGE)
        self.assertIn("home_core is 7", err)
        err = self.ctl("launch", "web", "--kernel", "/nonexistent/vmlinuz", status=FAILURE)
        self.assertIn("/nonexistent/vmlinuz", err)
        err = self.ctl("info", "nobody", status=NO_GUEST)
        self.assertIn("there is no guest nobody", err)

    def test_balloon(self):
        self.ctl("launch", "tiny", "-d", "--memory", "32M")
        err = self.ctl("balloon", "stats", "tiny", status=FAILURE)
        self.assertIn("did not ask for virtio_balloon", err)
        self.ctl("stop", "tiny")
        self.ctl("launch", "tiny", "-d", "--memory", "32M", "--virtio-balloon", "on")
        self.assertIn("keeps no memory statistics",
                      self.ctl("balloon", "stats", "tiny", status=FAILURE))
        self.assertEqual(self.ctl("balloon", "set", "tiny", "9999999"),
                         "tiny is asked for 8192 pages, and has given 0\n")
        self.assertIn("asked for 1024", self.ctl("balloon", "set", "tiny", "1024"))
        with terminal.Terminal(self.command("attach", "tiny")) as term:
            term.type(b"balloon serve\r")
            term.expect(b"balloon serves")
            stats = json.loads(self.ctl("balloon", "stats", "tiny", "--json"))
            self.assertEqual(stats["requested-pages"], 1024)
            self.assertEqual(set(stats["stats"]), {"free-memory", "total-memory", "tag-48879"})
            self.assertRegex(self.ctl("balloon", "stats", "tiny"),
                             r"requested-pages +1024 +4 MiB")
            self.ctl("balloon", "set", "tiny", "0")
            term.expect(b"VERDICT balloon ok")
        self.ctl("balloon", "stats", "nobody", status=NO_GUEST)

    def test_mem(self):
        self.ctl("launch", "tiny", "-d", "--memory", "32M", "--virtio-mem", "on",
                 "--virtio-mem-region-size", "64M", "--virtio-mem-block-size", "4M")
        self.assertRegex(self.ctl("mem", "stats", "tiny"), r"region-size +67108864 +64 MiB")
        err = self.ctl("mem", "request-plugged", "tiny", "6M", status=USAGE)
        self.assertIn("a multiple of the block size, 4194304", err)
        self.ctl("mem", "request-plugged", "tiny", "68M", status=USAGE)
        self.assertEqual(self.ctl("mem", "request-plugged", "tiny", "8M"),
                         "tiny is asked to have 8 MiB plugged, and has 0 B\n")
        with terminal.Terminal(self.command("attach", "tiny")) as term:
            term.type(b"hotplug plug 3 2\r")
            term.expect(b"VERDICT hotplug ok")
        stats = json.loads(self.ctl("mem", "stats", "tiny", "--json"))
        self.assertEqual((stats["plugged-size"], stats["requested-size"]), (8 << 20, 8 << 20))

    def test_figures(self):
        self.ctl("launch", "tiny", "-d", "--memory", "32M")
        self.assertIn("tiny", self.ctl("top"))
        lines = self.ctl("top", "--json", "-n", "2", "-i", "0.1").splitlines()
        self.assertEqual([json.loads(line)["guests"][0]["name"] for line in lines], ["tiny"] * 2)
        text = self.ctl("metrics")
        self.assertTrue(text.endswith("# EOF\n"))
        samples = json.loads(self.ctl("metrics", "--json"))["samples"]
        self.assertIn("ringvisor_guests", [sample["name"] for sample in samples])
        self.assertIn("wire version 1", self.ctl("version"))


if __name__ == "__main__":
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skipped: /dev/kvm cannot be opened")
        sys.exit(77)
    unittest.main()
