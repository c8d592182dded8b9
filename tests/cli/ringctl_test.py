#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ringctl against a scripted daemon: what it sends, prints and returns.

usage: ringctl_test.py RINGCTL-PROGRAM SOURCE-FOLDER
"""
import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

RINGCTL, SOURCE = map(os.path.abspath, sys.argv[1:3])
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))
# pylint: disable=wrong-import-position
import terminal
import wire
from fake_daemon import FakeDaemon
from wire import Reader, Writer

OK, FAILURE, USAGE, NO_GUEST, UNREACHABLE = range(5)


class RingctlTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.daemon = FakeDaemon(self.folder.name).__enter__()
        self.addCleanup(self.daemon.die)

    def command(self, *arguments):
        return [RINGCTL, "--socket", self.daemon.path, *arguments]

    def run_ctl(self, *arguments, status=OK, given=b"", cwd=None):
        done = subprocess.run(self.command(*arguments), input=given, capture_output=True,
                              timeout=60, cwd=cwd, check=False)
        self.assertEqual(done.returncode, status, (arguments, done.stdout, done.stderr))
        return done.stdout.decode(), done.stderr.decode()

    def run_json(self, *arguments, status=OK):
        return json.loads(self.run_ctl(*arguments, "--json", status=status)[0])

    def launch(self, name="web-1", *arguments):
        self.run_ctl("launch", name, "-d", *arguments)
        return self.daemon.guests[name]["config"]

    def write(self, name, text):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


class UsageTest(RingctlTest):
    def test_help(self):
        out, _ = self.run_ctl("--help")
        for command in ("launch", "stop", "attach", "list", "info", "top", "balloon", "mem",
                        "socat", "vsock-perf", "metrics", "version"):
            self.assertIn(f"\n  {command} ", out)
            text, _ = self.run_ctl(command, "--help")
            self.assertTrue(text.startswith(f"Usage: ringctl {command}"), text)
            self.assertIn("--json", text)
            self.assertEqual(text, self.run_ctl(command, "-h")[0])

    def test_mistakes_are_explained(self):
        for arguments, words in (
                ([], "which command"),
                (["lanch", "x"], "did you mean launch?"),
                (["launch"], "NAME"),
                (["info"], "something is missing"),
                (["list", "x"], 'unexpected argument "x"'),
                (["launch", "x", "--memry", "1G"], "did you mean --memory?"),
                (["launch", "x", "--memory"], "--memory needs a value: --memory SIZE"),
                (["launch", "x", "-m"], "-m needs a value"),
                (["launch", "x", "-z"], "unknown option -z"),
                (["launch", "x", "--detach=1"], "--detach takes no value"),
                (["launch", "x", "--memory", "1T"], "--memory: \"1T\" is not a size"),
                (["launch", "x", "--cpus", "65"], '"65" is not a number from 1 to 64'),
                (["launch", "x", "--cpus", "0"], '"0" is not a number from 1 to 64'),
                (["launch", "x", "--cpus", "2x"], '"2x" is not a number'),
                (["launch", "x", "--virtio-rng", "yes"], '"yes" is neither on nor off'),
                (["launch", "x", "--builtin", "--kernel", "k"], "exclude each other"),
                (["launch", "x", "--disk", "d.img,volatil"],
                 'did you mean "volatile"?'),
                (["launch", "x", "--guest-cid", "2"], "3 to 4294967294"),
                (["launch", "x", "--guest-cid", "4294967296"], "0 to 4294967295"),
                (["launch", "x", "--memory", "1"], "guest_memory is 1"),
                (["launch", "x", "--config", "/nonexistent"], "/nonexistent: No such file"),
                (["top", "-i", "0"], "from 0.1 to 3600"),
                (["balloon", "set", "x"], "a number of pages"),
                (["balloon", "set", "x", "1M"], '"1M" is no number of pages'),
                (["balloon", "stats", "x", "1"], "takes a guest's name"),
                (["balloon", "sett", "x"], "there are set and stats"),
                (["mem", "request-plugged", "x"], "a guest's name and a size"),
                (["mem", "request-plugged", "x", "1X"], '"1X" is no size'),
                (["mem", "resize", "x"], "there are request-plugged and stats"),
                (["socat", "dial", "x", "7"], "there are connect and listen"),
                (["socat", "connect", "x"], "something is missing"),
                (["socat", "connect", "x", "4294967296"], '"4294967296" is no port'),
                (["socat", "listen", "x", "7x"], '"7x" is no port'),
                (["vsock-perf", "x", "--count", "0"], "from 1 to 1000000"),
                (["vsock-perf", "x", "--bytes", "0"], '"0" is not a size'),
                (["--color", "blue", "list"], "auto, always or never"),
                (["--jsn", "list"], "did you mean --json?"),
        ):
            with self.subTest(arguments):
                out, err = self.run_ctl(*arguments, status=USAGE)
                self.assertIn(words, err)
                self.assertEqual(out, "")
        self.assertEqual(self.daemon.calls, [])

    def test_no_daemon(self):
        for path in ("/nonexistent/socket", "/dev/null", "x" * 200):
            done = subprocess.run([RINGCTL, "list", "--socket", path, "--json"],
                                  capture_output=True, timeout=60, check=False)
            self.assertEqual(done.returncode, UNREACHABLE, done.stderr)
            self.assertIn(b"is the daemon running", done.stderr)
            self.assertEqual(json.loads(done.stdout)["error"]["exit-status"], UNREACHABLE)

    def test_full_output_is_an_error(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(self.command("list"), stdout=full, stderr=subprocess.PIPE,
                                  timeout=60, check=False)
        self.assertEqual(done.returncode, FAILURE)
        self.assertIn(b"cannot write", done.stderr)

    def test_closed_descriptors(self):
        self.launch("web")
        for closed, status in (("<&-", OK), (">&-", FAILURE), ("2>&-", OK)):
            with self.subTest(closed):
                done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh",
                                       *self.command("list")], capture_output=True, timeout=60,
                                      check=False)
                self.assertEqual(done.returncode, status, done.stderr)

    def test_a_reader_that_leaves(self):
        for _ in range(3):
            done = subprocess.run(["bash", "-c", '"$@" | true; exit "${PIPESTATUS[0]}"', "bash",
                                   *self.command("top", "-n", "1000", "-i", "0.1")],
                                  capture_output=True, timeout=60, check=False)
            self.assertEqual((done.returncode, done.stderr), (128 + signal.SIGPIPE, b""))

    def test_hostile_texts_are_scrubbed(self):
        self.daemon.on[wire.GET_INFO] = lambda c, m: c.error(m, wire.STATUS, 1, "a\x1b[31mb\nc")
        _, err = self.run_ctl("info", "x", status=FAILURE)
        self.assertEqual(err, "ringctl: a?[31mb?c\n")

    def test_completion_knows_every_option(self):
        with open(os.path.join(SOURCE, "completions", "ringctl.bash"), encoding="utf-8") as file:
            text = file.read()
        for command in ("launch", "stop", "attach", "list", "info", "top", "balloon", "mem",
                        "socat", "vsock-perf", "metrics", "version"):
            body = re.search(rf"\n\t{command}\)(.*?);;", text, re.S)
            known = set(re.findall(r"--[a-z-]+", body.group(1) if body else ""))
            known |= {"--socket", "--json", "--color", "--help"}
            shown = set(re.findall(r"^  (?:-., )?(--[a-z-]+)",
                                   self.run_ctl(command, "--help")[0], re.M))
            self.assertEqual(shown, known, command)

    def complete(self, *words):
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ringctl; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(
            ["bash", "-c", script, "bash", os.path.join(SOURCE, "completions", "ringctl.bash"),
             "ringctl", *words],
            capture_output=True, timeout=60, check=True,
            env=dict(os.environ, PATH=os.path.dirname(RINGCTL) + ":" + os.environ["PATH"]))
        return done.stdout.decode().split()

    def test_completion(self):
        self.launch("web-1")
        self.launch("web-2")
        self.assertEqual(self.complete("la"), ["launch"])
        self.assertEqual(self.complete("launch", "x", "--cmdline-"), ["--cmdline-add"])
        self.assertEqual(self.complete("launch", "x", "--virtio-rng", ""), ["on", "off"])
        self.assertEqual(self.complete("balloon", ""), ["set", "stats"])
        self.assertEqual(self.complete("mem", "r"), ["request-plugged"])
        self.assertEqual(self.complete("socat", ""), ["connect", "listen"])
        for words in (["socat", "listen"], ["vsock-perf"]):
            self.assertEqual(self.complete("--socket", self.daemon.path, *words, "web"),
                             ["web-1", "web-2"])
        self.assertEqual(self.complete("--socket", self.daemon.path, "attach", "web"),
                         ["web-1", "web-2"])

    def test_the_manual_names_every_command_and_option(self):
        with open(os.path.join(SOURCE, "docs", "man", "ringctl.1"), encoding="utf-8") as file:
            manual = file.read().replace("\\-", "-")
        for command in ("launch", "stop", "attach", "list", "info", "top", "balloon", "mem",
                        "socat", "vsock-perf", "metrics", "version"):
            self.assertRegex(manual, rf"\.BI? {command}\b")
        for command in "launch", "vsock-perf":
            for option in re.findall(r"--[a-z-]+", self.run_ctl(command, "--help")[0]):
                self.assertIn(option, manual)


    def test_the_manual_names_every_key(self):
        path = os.path.join(SOURCE, "docs", "man", "ringvisor-config.5")
        with open(path, encoding="utf-8") as file:
            manual = file.read().replace("\\-", "-")
        for field in wire.CONFIG_FIELDS:
            self.assertRegex(manual, rf"(?m)^\.\w+ .*\b{field.replace('_', '-')}\b")
        example = manual.split(".nf\n")[1].split(".fi\n")[0]
        self.launch("example", "--config", self.write("example.json", example))


class LaunchTest(RingctlTest):
    def test_embedded_guest_by_default(self):
        config = self.launch("tiny")
        self.assertEqual(config, {1: b"\2\0\0\0", 7: b"\1", 8: (256 << 20).to_bytes(8, "little")})

    def test_says_that_it_runs(self):
        self.assertEqual(self.run_ctl("launch", "a", "-d")[0], "a is running\n")
        self.assertEqual(self.run_json("launch", "b"), {"name": "b", "status": "running"})

    def test_kernel_paths_become_absolute(self):
        self.run_ctl("launch", "web", "-d", "--kernel", "vmlinuz", "--initrd", "/boot/initrd",
                     cwd=self.folder.name)
        config = self.daemon.guests["web"]["config"]
        self.assertEqual(config[1], b"\1\0\0\0")
        self.assertEqual(Reader(config[2][8:]).string(),
                         os.path.join(os.path.realpath(self.folder.name), "vmlinuz"))
        self.assertEqual(Reader(config[3][8:]).string(), "/boot/initrd")

    def test_every_option(self):
        config = self.launch(
            "all", "--kernel", "/k", "--initrd", "/r", "--cmdline", "a b", "--cmdline-add", "c",
            "--cmdline-add", "d e", "-m", "1G", "--cpus", "64", "--virtio-balloon", "on",
            "--virtio-console", "on", "--virtio-rng", "off", "--virtio-vsock", "on",
            "--virtio-mem", "on", "--virtio-mem-block-size", "4M", "--virtio-mem-region-size",
            "1G", "--virtio-mem-region-alignment", "256M", "--disk", "/a", "--disk", "/b,ro",
            "--disk", "/c,volatile,qcow", "--disk", "/d,block,rw", "--net", "tap0",
            "--default-net", "on", "--guest-cid", "42", "--vsock-uds-path", "/run/v",
            "--home-core", "1")
        expected = dict(wire.config_fields(
            kernel_type=1, kernel="/k", ramdisk="/r", cmdline="a b", cmdline_add=["c", "d e"],
            guest_memory=1 << 30, cpus=64, virtio_balloon=1, virtio_console=1, virtio_rng=0,
            virtio_vsock=1, virtio_mem=1, virtio_mem_block_size=4 << 20,
            virtio_mem_region_size=1 << 30, virtio_mem_region_alignment=256 << 20,
            block_devices=[("disk0", 0, 1, "/a"), ("disk1", 1, 1, "/b"), ("disk2", 2, 2, "/c"),
                           ("disk3", 0, 3, "/d")],
            default_net=1, guest_cid=42, vsock_uds_path="/run/v", home_core=1))
        nets = Reader(config.pop(10))
        self.assertEqual(nets.u32(), 1)
        nets.zeros(4)
        self.assertEqual(nets.raw(6)[0] & 3, 2)
        self.assertEqual(config, expected)

    def test_config_file_with_options_on_top(self):
        path = self.write("web.json", json.dumps({
            "kernel-type": "linux", "kernel": "/k", "cmdline": "a", "cpus": 2,
            "guest-memory": "64M", "virtio-rng": True,
            "block-devices": [{"id": "disk0", "path": "/x", "mode": "read-only"}]}))
        config = self.launch("web", "--config", path, "--cpus", "3", "--cmdline-add", "b",
                             "--virtio-rng", "off", "--disk", "/y")
        self.assertEqual(config, dict(wire.config_fields(
            kernel_type=1, kernel="/k", cmdline="a", cmdline_add=["b"], cpus=3,
            guest_memory=64 << 20, virtio_rng=0,
            block_devices=[("disk0", 1, 1, "/x"), ("disk1", 0, 1, "/y")])))

    def test_config_errors_have_a_place(self):
        path = self.write("bad.json", '{\n  "cpu": 1\n}')
        _, err = self.run_ctl("launch", "x", "--config", path, status=USAGE)
        self.assertIn(f'{path}:2:3: unknown key "cpu": the nearest known one is "cpus"', err)

    def test_the_examples_launch(self):
        for example in ("builtin.json", "linux.json", "everything.json"):
            self.launch(example[:-5], "--config", os.path.join(SOURCE, "examples", example))

    def test_refusals(self):
        self.launch("web")
        _, err = self.run_ctl("launch", "web", "-d", status=FAILURE)
        self.assertIn("running already", err)
        self.daemon.on[wire.LAUNCH] = lambda c, m: c.error(m, wire.MANAGER_ERROR, 1, "cpus is 9")
        error = self.run_json("launch", "x", status=USAGE)["error"]
        self.assertEqual((error["name"], error["detail"]), ("BAD_CONFIG", "cpus is 9"))
        self.daemon.on[wire.LAUNCH] = lambda c, m: c.error(m, wire.MANAGER_ERROR, 4, "no kernel")
        self.assertIn("no kernel", self.run_ctl("launch", "x", status=FAILURE)[1])

    def test_daemon_dies_during_the_launch(self):
        self.daemon.on[wire.LAUNCH] = lambda c, m: self.daemon.die()
        self.run_ctl("launch", "x", "-d", status=UNREACHABLE)

    def test_progress_on_a_terminal(self):
        calls = queue.Queue()
        self.daemon.on[wire.LAUNCH] = lambda c, m: calls.put((c, m))
        with terminal.Terminal(self.command("launch", "slow", "-d")) as term:
            term.expect(b"launching slow, ")
            connection, message = calls.get(timeout=terminal.PATIENCE)
            connection.reply(message)
            term.expect(b"\r\x1b[K")
            term.expect(b"slow is running")
            self.assertEqual(term.wait(), OK)

    def test_attaches_and_ends_with_the_guest(self):
        out, _ = self.run_ctl("launch", "web", given=b"halt")
        self.assertEqual(out, "fake guest\r\n<halt>")


class GuestTest(RingctlTest):
    def test_list(self):
        self.assertEqual(self.run_ctl("list")[0], "Guest  Status  Uptime\n")
        self.launch("web-1")
        self.launch("a")
        self.daemon.end("a")
        self.daemon.guests["old"] = {"guest_status": 3, "uptime_ns": 93784 * 10**9}
        self.assertEqual(self.run_ctl("list")[0],
                         "Guest  Status        Uptime\n"
                         "a      stopped        1.5 s\n"
                         "old    running  1d 02:03:04\n"
                         "web-1  running        1.5 s\n")
        self.assertIn("256 MiB", self.run_ctl("list", "--wide")[0])
        self.assertEqual(self.run_ctl("list", "-q")[0], "a\nold\nweb-1\n")
        guests = self.run_json("list")["guests"]
        self.assertEqual(guests[2], {"name": "web-1", "status": "running",
                                     "uptime-ns": 1500000000, "cpus": 1,
                                     "guest-memory": 256 << 20})

    def test_colours_only_on_a_terminal(self):
        self.assertNotIn("\x1b", self.run_ctl("list")[0])
        self.assertIn("\x1b[1m", self.run_ctl("list", "--color", "always")[0])
        with terminal.Terminal(self.command("list")) as term:
            self.assertEqual(term.wait(), OK)
            term.expect(b"\x1b[1mGuest")
        with terminal.Terminal(self.command("list", "--color", "never")) as term:
            self.assertEqual(term.wait(), OK)
            self.assertNotIn(b"\x1b", term.output)
        with terminal.Terminal(self.command("list"), env={"TERM": "dumb"}) as term:
            self.assertEqual(term.wait(), OK)
            self.assertNotIn(b"\x1b", term.output)

    def test_info(self):
        self.launch("web-1")
        self.daemon.guests["web-1"]["detected_problems"] = ["console output blocked: nobody reads"]
        out, _ = self.run_ctl("info", "web-1")
        for row in ("Guest: +web-1", "Status: +running", "CPUs: +1", "Memory: +256 MiB",
                    "Resident: +1 MiB", "Exits: +10", "Interrupts: +3", "Devices: +serial",
                    "Problems: +console output blocked: nobody reads"):
            self.assertRegex(out, row)
        info = self.run_json("info", "web-1")
        self.assertEqual(info["exits"], 10)
        self.assertEqual(info["devices"], ["serial"])
        self.assertEqual(info["detected-problems"], ["console output blocked: nobody reads"])
        self.daemon.end("web-1", error=12)
        self.assertRegex(self.run_ctl("info", "web-1")[0], "Stopped by: +VCPU_RUNTIME_FAILURE")
        self.assertEqual(self.run_json("info", "web-1")["stop-error"], "VCPU_RUNTIME_FAILURE")

    def test_unknown_guests(self):
        for command in ("info", "attach", "stop"):
            self.run_ctl(command, "nobody", status=NO_GUEST)
            error = self.run_json(command, "nobody", status=NO_GUEST)["error"]
            self.assertEqual(error["exit-status"], NO_GUEST)

    def test_stop(self):
        self.launch("web-1")
        self.assertEqual(self.run_ctl("stop", "web-1")[0], "web-1 has stopped\n")
        self.assertEqual(self.daemon.guests["web-1"]["guest_status"], 5)
        self.run_ctl("stop", "web-1", status=NO_GUEST)
        self.assertEqual(self.run_json("stop", "-f", "web-1")["status"], "stopped")

    def test_top(self):
        self.launch("web-1")
        out, _ = self.run_ctl("top")
        self.assertRegex(out, r"Guest +Status .*\nweb-1 +running +1.5 s +1 +256 MiB +1 MiB +7 ")
        out, _ = self.run_ctl("top", "-n", "3", "-i", "0.1", "--json")
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(len(lines), 3)
        self.assertAlmostEqual(lines[0]["guests"][0]["exits-per-second"], 10 / 1.5)

    def test_top_on_a_terminal(self):
        self.launch("web-1")
        with terminal.Terminal(self.command("top", "-i", "0.1")) as term:
            term.expect(b"web-1")
            term.expect(b"\x1b[2J")
            term.type(b"q")
            self.assertEqual(term.wait(), OK)
            self.assertEqual(term.settings(), term.before)

    def test_top_is_stopped(self):
        self.launch("web-1")
        with terminal.Terminal(self.command("top", "-i", "0.1"), job=True) as term:
            term.expect(b"web-1")
            self.assertNotEqual(term.settings(), term.before)
            term.stop()
            self.assertEqual(term.settings(), term.before)
            term.drain()
            term.send_signal(signal.SIGCONT)
            term.expect(b"web-1")
            term.wait_raw()
            term.type(b"q")
            self.assertEqual(term.wait(), OK)
            self.assertEqual(term.settings(), term.before)

    def test_metrics(self):
        out, _ = self.run_ctl("metrics")
        self.assertEqual(out, "# TYPE ringvisor_guests gauge\nringvisor_guests 1\n# EOF\n")
        self.assertEqual(self.run_json("metrics"),
                         {"samples": [{"name": "ringvisor_guests", "value": "1"}]})

    def test_version(self):
        out, _ = self.run_ctl("version")
        self.assertRegex(out, r"^ringctl \d+\.\d+\.\d+\ndaemon fake 0.1, wire version 1, 2 cores")
        self.assertEqual(self.run_json("version")["daemon"]["build"], "fake 0.1")


class AttachTest(RingctlTest):
    def attach(self, *arguments):
        return terminal.Terminal(self.command("attach", *arguments))

    def test_through_pipes(self):
        self.launch("web")
        out, err = self.run_ctl("attach", "web", given=b"\x01x halt")
        self.assertEqual(out, "fake guest\r\n<\x01x halt>")
        self.assertEqual(err, "")

    def test_console_if_there_is_one(self):
        self.launch("web", "--virtio-console", "on")
        self.run_ctl("attach", "web", given=b"halt")
        methods = [message.method for message in self.daemon.calls]
        self.assertIn(wire.GET_CONSOLE, methods)
        self.assertNotIn(wire.GET_SERIAL, methods)

    def test_serial_on_demand(self):
        self.launch("web", "--virtio-console", "on")
        self.run_ctl("attach", "--serial", "web", given=b"halt")
        self.assertNotIn(wire.GET_CONSOLE, [message.method for message in self.daemon.calls])

    def test_other_refusals_of_the_console_are_errors(self):
        self.launch("web")
        self.daemon.on[wire.GET_CONSOLE] = lambda c, m: c.error(m, wire.GUEST_ERROR, 1, "broken")
        _, err = self.run_ctl("attach", "web", status=FAILURE)
        self.assertIn("broken", err)

    def test_typing_and_leaving(self):
        self.launch("web")
        with self.attach("web") as term:
            term.expect(b"fake guest")
            self.assertTrue(term.is_raw())
            term.type(b"a\r")
            term.expect(b"<a\r>")
            term.type(b"\x01\x01")
            term.expect(b"<\x01>")
            term.type(b"\x03")
            term.expect(b"<\x03>")
            term.type(b"\x01b")
            term.expect(b"<\x01b>")
            term.type(b"\x01")
            term.type(b"x")
            self.assertEqual(term.wait(), OK)
            term.expect(b"detached")
            self.assertEqual(term.settings(), term.before)
        self.assertEqual(self.daemon.guests["web"]["guest_status"], 3)

    def test_guest_ends(self):
        self.launch("web")
        with self.attach("web") as term:
            term.expect(b"fake guest")
            term.type(b"halt")
            self.assertEqual(term.wait(), OK)
            term.expect(b"the guest has ended")
            self.assertEqual(term.settings(), term.before)

    def test_guest_fails(self):
        self.launch("web")
        with self.attach("web") as term:
            term.expect(b"fake guest")
            self.daemon.end("web", error=12)
            self.assertEqual(term.wait(), FAILURE)
            term.expect(b"VCPU_RUNTIME_FAILURE")

    def test_daemon_dies(self):
        self.launch("web")
        with self.attach("web") as term:
            term.expect(b"fake guest")
            self.daemon.die()
            self.assertEqual(term.wait(), UNREACHABLE)
            self.assertEqual(term.settings(), term.before)

    @staticmethod
    def cpu_ticks(process):
        with open(f"/proc/{process.pid}/stat", encoding="ascii") as line:
            fields = line.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def test_daemon_dies_while_nobody_reads(self):
        """What it has sent is kept for the reader, for whom nobody spins."""
        self.launch("web")
        with subprocess.Popen(self.command("attach", "web"), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.read(len(b"fake guest\r\n"))
            sent = self.daemon.streams["web"][0].send(bytes(150000))
            self.daemon.die()
            before = self.cpu_ticks(process)
            time.sleep(0.5)  # what is measured
            self.assertLess(self.cpu_ticks(process) - before, 10)
            self.assertEqual(len(process.stdout.read()), sent)
            self.assertEqual(process.wait(60), UNREACHABLE)

    def test_signals_restore_the_terminal(self):
        self.launch("web")
        for number in terminal.SIGNALS:
            with self.subTest(number), self.attach("web") as term:
                term.expect(b"fake guest")
                self.assertTrue(term.is_raw())
                term.send_signal(number)
                self.assertEqual(term.wait(), -number)
                self.assertEqual(term.settings(), term.before)

    def test_a_stop_gives_the_terminal_back_for_a_while(self):
        self.launch("web")
        with terminal.Terminal(self.command("attach", "web"), job=True) as term:
            term.expect(b"fake guest")
            for number in signal.SIGTSTP, signal.SIGTSTP, signal.SIGSTOP:
                self.assertTrue(term.is_raw())
                term.stop(number)
                if number == signal.SIGSTOP:  # nothing can be done then but by the shell
                    term.set(term.before)
                self.assertEqual(term.settings(), term.before)
                term.send_signal(signal.SIGCONT)
                term.wait_raw()
            term.stop()
            term.send_signal(signal.SIGTERM)
            term.send_signal(signal.SIGCONT)
            self.assertEqual(term.wait(), -signal.SIGTERM)
            self.assertEqual(term.settings(), term.before)

    def test_a_stop_without_a_shell(self):
        """Nobody could continue such a process: the kernel does not stop it."""
        self.launch("web")
        with terminal.Terminal(self.command("attach", "web")) as term:
            term.expect(b"fake guest")
            term.send_signal(signal.SIGTSTP)
            term.type(b"still here\r")
            term.expect(b"<still here")  # then \r or, if the terminal was not raw just then, \n
            term.wait_raw()
            term.type(b"\x01x")
            self.assertEqual(term.wait(), OK)
            self.assertEqual(term.settings(), term.before)

    def test_hang_up(self):
        self.launch("web")
        process = subprocess.Popen(self.command("attach", "web"), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        process.stdout.read(len(b"fake guest\r\n"))
        process.stdout.close()
        process.stdin.write(b"more")
        process.stdin.flush()
        self.assertEqual(process.wait(timeout=60), -signal.SIGPIPE)
        process.stdin.close()

    def test_much_output_and_input(self):
        self.launch("web")
        size = 1 << 20
        with subprocess.Popen(self.command("attach", "web"), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as process:
            process.stdout.read(len(b"fake guest\r\n"))
            stream = self.daemon.streams["web"][0]
            self.daemon.selector.unregister(stream)
            stream.setblocking(True)
            sender = threading.Thread(target=stream.sendall, args=[b"x" * size])
            sender.start()
            self.assertEqual(process.stdout.read(size), b"x" * size)
            sender.join()
            sender = threading.Thread(target=process.stdin.write, args=[b"y" * size])
            sender.start()
            left = size
            while left > 65536:
                left -= len(stream.recv(65536))
            sender.join()
            process.stdin.close()
            while left:
                left -= len(stream.recv(65536))
            stream.close()
            self.daemon.streams["web"].clear()
            self.daemon.end("web")
            self.assertEqual(process.wait(timeout=60), OK)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
