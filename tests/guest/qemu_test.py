#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots the embedded guest under Debian's QEMU, to show that it is a guest like any other.

usage: qemu_test.py GUEST_ELF

Exit status 77 means skipped: there is no qemu-system-x86_64.
"""

import os
import selectors
import shutil
import subprocess
import sys
import time

QEMU = "qemu-system-x86_64"
SKIPPED = 77
TIMEOUT_S = 60


class Failed(Exception):
    pass


class Guest:
    """A guest under QEMU, whose serial port is a pair of pipes."""

    def __init__(self, elf, accel, args=(), machine="microvm"):
        command = [QEMU, "-M", machine, *accel, "-kernel", elf, "-nodefaults", "-no-user-config",
                   "-display", "none", "-serial", "stdio", "-no-reboot", *args]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)
        self.seen = b""
        self.log = b""
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()
        self.selector.close()
        self.process.stdin.close()
        self.process.stdout.close()

    def expect(self, text):
        """Reads on until `text` has come, and returns what came before it; what follows it is
        left for the next call."""
        wanted = text.encode()
        deadline = time.monotonic() + TIMEOUT_S
        while wanted not in self.seen:
            left = deadline - time.monotonic()
            if left <= 0 or not self.selector.select(left):
                raise Failed(f"{text!r} did not come within {TIMEOUT_S} s")
            data = os.read(self.process.stdout.fileno(), 4096)
            if not data:
                raise Failed(f"QEMU ended before {text!r} came")
            self.seen += data
            self.log += data
        before, _, self.seen = self.seen.partition(wanted)
        return before

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def command(self, line):
        """Types a command at the prompt and waits for its verdict."""
        self.expect("> ")
        self.type(line + "\r")
        self.expect(f"VERDICT {line.split()[0]} ok")

    def expect_end(self):
        """QEMU must end by itself, and well."""
        try:
            status = self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"QEMU did not end within {TIMEOUT_S} s") from None
        if status != 0:
            raise Failed(f"QEMU ended with status {status}")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def shell_answers(elf, accel):
    with Guest(elf, accel, ["-m", "64"]) as guest:
        guest.expect("Ringvisor guest ")
        guest.expect("> ")
        guest.type("echo gone\b\b\b\bhello  guest\r")
        guest.expect("\nhello  guest\r\nVERDICT echo ok")
        guest.command("cpu")
        guest.command("mem")
        guest.command("smp")
        guest.command("help")
        guest.expect("> ")
        guest.type("nonsense\n")
        guest.expect("VERDICT nonsense failed: ")
        guest.expect("> ")
        guest.type("halt\r")
        guest.expect_end()


def idle_costs_nothing(elf, accel):
    with Guest(elf, accel, ["-m", "64"]) as guest:
        guest.expect("> ")
        before, start = cpu_seconds(guest.process.pid), time.monotonic()
        time.sleep(1)  # the interval measured
        used, elapsed = cpu_seconds(guest.process.pid) - before, time.monotonic() - start
        if used > 0.2 * elapsed:
            raise Failed(f"an idle guest used {used:.2f} s of CPU time in {elapsed:.2f} s")
        guest.type("echo awake\r")
        guest.expect("VERDICT echo ok")


def second_cpu_works(elf, accel):
    with Guest(elf, accel, ["-m", "64", "-smp", "2"]) as guest:
        guest.command("smp")
        guest.command("cpu")


def memory_above_4_gib(elf, accel):
    with Guest(elf, accel, ["-m", "3328M"]) as guest:
        guest.expect("3327 MiB RAM")
        guest.expect("> ")
        guest.type("mem 65536\r")  # wide steps: with huge pages QEMU populates 2 MiB at each touch
        guest.expect("0x000100000000-0x00010fffffff RAM")
        guest.expect("VERDICT mem ok")


def script_runs(elf, accel):
    with Guest(elf, accel, ["-m", "64", "-append", "a=b run=echo one; echo two;halt"]) as guest:
        guest.expect("\none\r\nVERDICT echo ok")
        guest.expect("\ntwo\r\nVERDICT echo ok")
        guest.expect_end()


def reset_ends_it(elf, accel):
    for how in ("reboot", "crash triple"):
        with Guest(elf, accel, ["-m", "64"]) as guest:  # -no-reboot: a reset is an end
            guest.expect("> ")
            guest.type(how + "\r")
            guest.expect_end()


def trap_is_reported(elf, accel):
    with Guest(elf, accel, ["-m", "64", "-append", "run=crash ud"]) as guest:
        guest.expect("VERDICT trap failed: exception 6 ")
        guest.expect_end()


KVM = ["-accel", "kvm", "-cpu", "qemu64"]
TCG = ["-accel", "tcg"]
CASES = [
    (shell_answers, KVM),
    (idle_costs_nothing, KVM),
    (script_runs, KVM),
    (memory_above_4_gib, KVM),
    (reset_ends_it, KVM),
    (trap_is_reported, KVM),
    (shell_answers, TCG),
    (second_cpu_works, TCG),  # QEMU has no wakeup mailbox, and not every KVM delivers INIT and SIPI
    (reset_ends_it, TCG),
]


def run_cases(cases):
    """The whole of a test program: runs each (case, accelerator) and exits."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} GUEST_ELF")
    if not shutil.which(QEMU):
        print(f"skipped: no {QEMU} here (Debian package qemu-system-x86)")
        sys.exit(SKIPPED)
    have_kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)
    failures = 0
    for case, accel in cases:
        name = f"{case.__name__} {accel[1]}"
        if accel is KVM and not have_kvm:
            print(f"{name}: skipped, /dev/kvm cannot be opened")
            continue
        start = time.monotonic()
        try:
            case(sys.argv[1], accel)
            print(f"{name}: ok, {time.monotonic() - start:.1f} s")
        except (Failed, OSError) as error:
            failures += 1
            print(f"{name}: FAILED: {error}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    run_cases(CASES)
