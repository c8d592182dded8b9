#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`ringvisor run` as a person meets it: bad input, the terminal, exit statuses."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import mounts  # noqa: E402

RINGVISOR = os.environ.get("RINGVISOR", "ringvisor")
DEADLINE = 60


def run(*args, stdin=subprocess.DEVNULL, program=RINGVISOR, **more):
    return subprocess.run([program, "run", *args], stdin=stdin, capture_output=True, text=True,
                          timeout=DEADLINE, check=False, **more)


def nobody(folder):
    """How `run` runs the program as a user who may do nothing; `folder` may get a copy of it."""
    if os.geteuid() != 0:
        return {}
    os.chmod(folder, 0o755)
    return {"user": 65534, "group": 65534, "extra_groups": [],
            "program": shutil.copy(RINGVISOR, folder)}


class BadInput(unittest.TestCase):
    """One line that names the file or field, the value, the limit and the remedy."""

    def refused(self, status, words, *args, **more):
        result = run(*args, **more)
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertEqual(result.stdout, "")
        lines = result.stderr.splitlines()
        self.assertEqual(len([l for l in lines if l.startswith("ringvisor: ")]), 1, result.stderr)
        self.assertEqual(len(lines), 1, result.stderr)
        for word in words:
            self.assertIn(word, lines[0])

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def file(self, name, data):
        path = os.path.join(self.folder.name, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def test_nothing_to_boot(self):
        self.refused(2, ["--builtin", "--kernel"])

    def test_unknown_option_names_the_nearest(self):
        self.refused(2, ["--memroy", "--memory"], "--builtin", "--memroy", "1G")

    def test_unknown_short_option(self):
        self.refused(2, ["-z", "--help"], "-z")

    def test_option_without_value(self):
        self.refused(2, ["--memory", "needs a value"], "--memory")

    def test_left_over_word(self):
        self.refused(2, ["vmlinuz", "--kernel"], "vmlinuz")

    def test_builtin_and_kernel(self):
        self.refused(2, ["--builtin", "--kernel"], "--builtin", "--kernel", "x")

    def test_memory(self):
        self.refused(2, ["guest_memory", "0"], "--builtin", "--memory", "0")
        self.refused(2, ["--memory", "lots"], "--builtin", "--memory", "lots")
        self.refused(2, ["--memory", "-5M"], "--builtin", "--memory", "-5M")
        self.refused(2, ["guest_memory"], "--builtin", "--memory", "100000G")
        self.refused(2, ["--memory"], "--builtin", "--memory", "99999999999999999999G")

    def test_cpus(self):
        self.refused(2, ["cpus", "0", "64"], "--builtin", "--cpus", "0")
        self.refused(2, ["cpus", "65", "64"], "--builtin", "--cpus", "65")
        self.refused(2, ["cpus", "256", "64"], "--builtin", "--cpus", "256")
        self.refused(2, ["cpus", "two", "64"], "--builtin", "--cpus", "two")

    def test_cores(self):
        self.refused(2, ["--cores", "x"], "--builtin", "--cores", "x")
        self.refused(2, ["--cores", "9999"], "--builtin", "--cores", "9999")
        last = max(os.sched_getaffinity(0))
        if last > 0:
            self.refused(2, ["--cores", "backwards"], "--builtin", "--cores", f"{last}-0")

    def test_kernel_files(self):
        self.refused(1, ["KERNEL_LOAD_FAILURE", "/nonexistent"], "--kernel", "/nonexistent")
        self.refused(1, ["KERNEL_LOAD_FAILURE", self.folder.name, "directory"],
                     "--kernel", self.folder.name)
        self.refused(1, ["empty"], "--kernel", self.file("empty", b""))
        self.refused(1, ["text", "offset"], "--kernel", self.file("text", b"no kernel at all\n" * 400))
        self.refused(1, ["cut", "truncated", "37 bytes"], "--kernel",
                     self.file("cut", b"\x7fELF\x02\x01\x01" + bytes(30)))

    def test_unreadable_kernel(self):
        path = self.file("secret", b"x")
        os.chmod(path, 0)
        self.refused(1, ["Permission denied"], "--kernel", path, **nobody(self.folder.name))

    def test_kvm_without_permission(self):
        if os.access("/dev/kvm", os.R_OK | os.W_OK) and os.stat("/dev/kvm").st_mode & 0o006 == 0o006:
            self.skipTest("everybody may use /dev/kvm here")
        self.refused(1, ["/dev/kvm", "Permission denied", "group"], "--builtin", **nobody(self.folder.name))

    def test_initrd(self):
        self.refused(1, ["initrd", "/nonexistent"], "--builtin", "--initrd", "/nonexistent")
        big = os.path.join(self.folder.name, "big")
        with open(big, "wb") as f:
            f.truncate(1 << 30)
        self.refused(1, ["big", "memory"], "--builtin", "--memory", "64M", "--initrd", big)

    def test_over_long_command_line(self):
        self.refused(2, ["cmdline", "2048", "2047"], "--builtin", "--cmdline", "x" * 2048)

    def test_config_errors_have_line_and_column(self):
        path = self.file("c.json", b'{\n  "cpus": 1,\n  "memroy": "1G"\n}\n')
        self.refused(2, ["c.json:3:", "memroy"], "--config", path)

    def test_serial_file_that_cannot_be_made(self):
        self.refused(1, ["--serial", "/nonexistent/log"], "--builtin", "--serial", "/nonexistent/log")

    def test_serial_to_a_fifo_that_nobody_reads(self):
        fifo = os.path.join(self.folder.name, "fifo")
        os.mkfifo(fifo)
        self.refused(1, ["--serial", fifo, "nobody reads"], "--builtin", "--serial", fifo)

    def test_console_options(self):
        self.refused(2, ["--serial", "--console", "stdio"],
                     "--builtin", "--serial", "stdio", "--console", "stdio")
        self.refused(2, ["--console", "off"],
                     "--builtin", "--console", "stdio", "--virtio-console", "off")
        self.refused(2, ["--virtio-rng", "perhaps"], "--builtin", "--virtio-rng", "perhaps")

    def test_help(self):
        result = run("--help")
        self.assertEqual(result.returncode, 0)
        for word in ("--builtin", "--kernel", "--memory", "--cpus", "--serial", "Ctrl-A x"):
            self.assertIn(word, result.stdout)


@unittest.skipUnless(os.access("/dev/kvm", os.R_OK | os.W_OK), "no /dev/kvm")
class Guest(unittest.TestCase):
    def test_serial_by_pipes(self):
        # Typed before the guest's driver is there; nothing may be lost.
        result = subprocess.run([RINGVISOR, "run", "--builtin", "--memory", "32M"], input="echo hello\nhalt\n",
                                capture_output=True, text=True, timeout=DEADLINE, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("\nhello", result.stdout.replace("\r", ""))
        self.assertEqual(result.stderr, "")

    def test_long_output_arrives_whole(self):
        commands = "".join(f"echo {i:04d} " + "x" * 60 + "\n" for i in range(300)) + "halt\n"
        result = subprocess.run([RINGVISOR, "run", "--builtin"], input=commands, capture_output=True, text=True,
                                timeout=DEADLINE, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = [l for l in result.stdout.replace("\r", "").splitlines() if l.startswith("0") and l.endswith("x")]
        self.assertEqual([l[:4] for l in lines], [f"{i:04d}" for i in range(300)])

    def test_console_by_pipes_and_serial_to_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            log = os.path.join(folder, "log")
            result = subprocess.run(
                [RINGVISOR, "run", "--builtin", "--console", "stdio", "--serial", log,
                 "--cmdline", "run=console echo 5;console send 70000;halt"],
                input=b"12345", capture_output=True, timeout=DEADLINE, check=False)
            with open(log, encoding="utf-8") as f:
                serial = f.read()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, b"12345" + (bytes(range(256)) * 274)[:70000])
        self.assertEqual(serial.count("VERDICT console ok"), 2)

    def test_console_alone_is_on_the_terminal(self):
        result = run("--builtin", "--console", "stdio", "--virtio-rng", "on",
                     "--cmdline", "run=rng 1000;console send 300 zero;halt")
        self.assertEqual((result.returncode, result.stdout), (0, "\0" * 300))

    def test_serial_to_a_file_and_none(self):
        with tempfile.TemporaryDirectory() as folder:
            log = os.path.join(folder, "log")
            result = run("--builtin", "--serial", log, "--cmdline", "run=echo into the file;halt")
            self.assertEqual((result.returncode, result.stdout), (0, ""), result.stderr)
            with open(log, encoding="utf-8") as f:
                self.assertIn("into the file", f.read())
        result = run("--builtin", "--serial", "none", "--cmdline", "run=echo unheard;halt")
        self.assertEqual((result.returncode, result.stdout), (0, ""), result.stderr)

    def test_output_that_cannot_be_written(self):
        """Once, when it is known how much: the option, the file, the error, the bytes."""
        commands = "run=" + "echo into the void;" * 20
        lost = r"ringvisor: --{}: {}: No space left on device; (\d+) bytes of output were lost"
        result = run("--builtin", "--serial", "/dev/full", "--cmdline", commands + "halt")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        said = re.fullmatch(lost.format("serial", "/dev/full") + "\n", result.stderr)
        self.assertGreater(int(said[1]), 20 * len("into the void"))
        with open("/dev/full", "w", encoding="ascii") as full:
            result = subprocess.run([RINGVISOR, "run", "--builtin", "--cmdline", "run=halt"],
                                    stdin=subprocess.DEVNULL, stdout=full, text=True, check=False,
                                    stderr=subprocess.PIPE, timeout=DEADLINE)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, lost.format("serial", "standard output"))
        result = run("--builtin", "--console", "/dev/full", "--serial", "none",
                     "--cmdline", "run=console send 70000;halt")
        self.assertEqual(result.returncode, 1)
        said = re.fullmatch(lost.format("console", "/dev/full") + "\n", result.stderr)
        self.assertEqual(int(said[1]), 70000)
        # The guest's own failure comes first.
        result = run("--builtin", "--serial", "/dev/full", "--cmdline", "run=crash")
        self.assertEqual(result.returncode, 1)
        self.assertIn("VCPU_RUNTIME_FAILURE", result.stderr.splitlines()[0])
        self.assertRegex(result.stderr.splitlines()[1], lost.format("serial", "/dev/full"))

    def test_failure_and_reboot(self):
        result = run("--builtin", "--cmdline", "run=crash")
        self.assertEqual(result.returncode, 1)
        self.assertIn("VCPU_RUNTIME_FAILURE", result.stderr)
        self.assertIn("RIP 0x", result.stderr)
        result = run("--builtin", "--cmdline", "run=reboot")
        self.assertEqual(result.returncode, 0)
        self.assertIn("reboot", result.stderr)

    def test_sixty_four_cpus(self):
        result = run("--builtin", "--cpus", "64", "--memory", "128M", "--cmdline", "run=smp;halt")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("cpu 63: APIC ID 63", result.stdout)
        self.assertIn("VERDICT smp ok", result.stdout)

    def test_memory_above_four_gib(self):
        result = run("--builtin", "--memory", "6G", "--cmdline", "run=mem 65536;halt")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("0x000100000000-", result.stdout)
        self.assertIn("VERDICT mem ok", result.stdout)

    def test_signals_end_it(self):
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process = subprocess.Popen([RINGVISOR, "run", "--builtin"], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            try:
                process.stdout.read(1)  # the guest runs
                process.send_signal(sig)
                self.assertEqual(process.wait(DEADLINE), 128 + sig)
            finally:
                process.kill()
                process.communicate()

    def test_closed_descriptors(self):
        # None of the process's own files may take their place.
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            with self.subTest(closed):
                result = subprocess.run(["sh", "-c", f'exec "$0" run --builtin --cmdline "run=echo hi;halt" {closed}',
                                         RINGVISOR], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                        timeout=DEADLINE, check=False)
                self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_a_reader_that_leaves(self):
        command = '"$0" run --builtin --cmdline "run=help;help;help;halt" | head -c 1; exit "${PIPESTATUS[0]}"'
        result = subprocess.run(["bash", "-c", command, RINGVISOR], stdin=subprocess.DEVNULL, capture_output=True,
                                text=True, timeout=DEADLINE, check=False)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_no_kvm(self):
        hiding = mounts.hiding(self, "mount --bind /dev/null /dev/kvm")
        result = subprocess.run([*hiding, RINGVISOR, "run", "--builtin"], stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, timeout=DEADLINE, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("/dev/kvm", result.stderr)


@unittest.skipUnless(os.access("/dev/kvm", os.R_OK | os.W_OK), "no /dev/kvm")
class Terminal(unittest.TestCase):
    """On a pseudo-terminal: raw while it runs, the escape key, restored at every end."""

    def setUp(self):
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.text = b""
        self.process = None
        self.addCleanup(self.clean)

    def clean(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def start(self, *args):
        # A process group of its own in our session: a job that can be stopped, as of a shell.
        self.process = subprocess.Popen([RINGVISOR, "run", "--builtin", *args], stdin=self.slave,
                                        stdout=self.slave, stderr=self.slave,
                                        preexec_fn=os.setpgrp)
        self.expect(b"> ")

    def expect(self, what):
        end = time.monotonic() + DEADLINE
        while what not in self.text:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            self.assertTrue(ready, f"{what} did not come: {self.text}")
            self.text += os.read(self.master, 4096)
        self.text = self.text[self.text.index(what) + len(what):]

    def ended(self, status):
        end = time.monotonic() + DEADLINE
        while self.process.poll() is None:
            self.assertLess(time.monotonic(), end, "it does not end")
            if select.select([self.master], [], [], 0.05)[0]:
                self.text += os.read(self.master, 4096)
        self.assertEqual(self.process.returncode, status)
        self.assertEqual(termios.tcgetattr(self.slave), self.before, "the terminal is as it was")

    def test_raw_while_running_and_restored_after_power_off(self):
        self.start()
        self.assertFalse(termios.tcgetattr(self.slave)[3] & termios.ICANON)
        os.write(self.master, b"echo typed\r")
        self.expect(b"typed\r\n")
        self.expect(b"typed\r\n")
        os.write(self.master, b"halt\r")
        self.ended(0)

    def test_ctrl_c_goes_to_the_guest(self):
        self.start()
        os.write(self.master, b"\x03")
        os.write(self.master, b"\recho alive\r")
        self.expect(b"VERDICT echo ok")
        os.write(self.master, b"\x01x")
        self.ended(0)

    def test_escape_quits(self):
        self.start()
        os.write(self.master, b"\x01x")
        self.ended(0)

    def test_power_button(self):
        self.start()
        os.write(self.master, b"power\r")
        self.expect(b"waiting for the power button")
        os.write(self.master, b"\x01p")
        self.ended(0)

    def test_restored_after_sigterm(self):
        self.start()
        self.process.send_signal(signal.SIGTERM)
        self.ended(128 + signal.SIGTERM)

    def stop(self, number):
        self.process.send_signal(number)
        state = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
        self.assertEqual(state.si_status, number)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)
        end = time.monotonic() + DEADLINE
        while termios.tcgetattr(self.slave)[3] & termios.ICANON:
            self.assertLess(time.monotonic(), end, "the terminal does not become raw")
            time.sleep(0.01)

    def test_a_stop_gives_the_terminal_back_for_a_while(self):
        self.start()
        for number in signal.SIGTSTP, signal.SIGTSTP, signal.SIGSTOP:
            self.stop(number)
            if number == signal.SIGSTOP:  # nothing can be done then but by the shell
                termios.tcsetattr(self.slave, termios.TCSANOW, self.before)
            self.assertEqual(termios.tcgetattr(self.slave), self.before)
            self.go_on()
            os.write(self.master, b"echo going on\r")
            self.expect(b"VERDICT echo ok")
        self.stop(signal.SIGTSTP)
        self.process.send_signal(signal.SIGTERM)
        self.process.send_signal(signal.SIGCONT)
        self.ended(128 + signal.SIGTERM)

    def test_restored_after_an_abort(self):
        self.start()
        self.process.send_signal(signal.SIGABRT)
        self.ended(-signal.SIGABRT)

    def test_a_non_blocking_terminal(self):
        # As a program that shares it may leave it; a full one then neither ends the output nor spins.
        self.start()
        os.set_blocking(self.slave, False)
        os.write(self.master, b"help\r" * 30)
        self.expect(b"crash")
        while select.select([self.master], [], [], 1)[0]:
            os.read(self.master, 4096)
        os.write(self.master, b"echo whole\r")
        self.expect(b"VERDICT echo ok")
        os.write(self.master, b"help\r" * 30)
        os.write(self.master, b"\x01x")
        self.process.wait(DEADLINE)
        self.ended(0)

    def test_restored_after_a_failure(self):
        self.start()
        os.write(self.master, b"crash\r")
        self.expect(b"VCPU_RUNTIME_FAILURE")
        self.ended(1)


if __name__ == "__main__":
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("no /dev/kvm: what needs it is skipped", file=sys.stderr)
    unittest.main(verbosity=2)
