# SPDX-License-Identifier: Apache-2.0
"""Boots Linux guests for tests: kernels, initramfs, the monitor's process, its console.

A test makes a Guest from a command (`run_command` gives that of `ringvisor run`), talks to its
console by `expect` and `send`, and waits for verdicts. A Console works on any pair of file
descriptors, so that a test can also give it a socket or a terminal that it got elsewhere.

Nothing here sleeps to wait: each wait is for bytes or for the end of a process, with a deadline.
"""
import os
import re
import select
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SKIPPED = 77  # what ctest takes for "could not run here" (SKIP_RETURN_CODE)

# Deadlines in seconds; far above what a slow, busy machine takes, since none should be reached.
BOOT_SECONDS = 600
STEP_SECONDS = 240
EXIT_SECONDS = 120

# What a kernel says when no verdict will follow.
DEAD_GUEST = rb"Kernel panic - not syncing[^\r\n]*|Attempted to kill init[^\r\n]*"

# What a kernel's log must not say.
TROUBLE = re.compile(r"ACPI.*(Warning|Error|Exception)|ACPI BIOS|Firmware Bug|FW BUG"
                     r"|\bBUG:|\bWARNING:|\bOops\b|Call Trace|invalid opcode|general protection"
                     r"|unhandled|soft lockup|detected stall|irq \d+: nobody cared"
                     r"|Spurious|not using MMCONFIG|failed to start|do_IRQ.*No irq handler"
                     r"|virtio.*(fail|error|time.?out|could not)|Out of memory|oom-kill")

# On AMD processors KVM answers the register that this asks for with 0, set or not.
KNOWN = "[Firmware Bug]: TSC doesn't count with P0 frequency!"


class Failure(Exception):
    """A test found something wrong; the text says what."""


class Skip(Exception):
    """The machine lacks what the test needs; the text says what."""


def check_log(log):
    """Fails if the kernel's log tells of trouble."""
    trouble = [line for line in log.split("\n") if TROUBLE.search(line) and KNOWN not in line]
    if trouble:
        raise Failure("the kernel complains:\n  " + "\n  ".join(trouble))


def has_hardware_virtualization():
    """Whether this host's processors offer VMX or SVM; its KVM may work without."""
    with open("/proc/cpuinfo") as cpuinfo:
        return any(line.startswith("flags") and {"vmx", "svm"} & set(line.split())
                   for line in cpuinfo)


def host_hertz():
    """The host's processor clock, or 0 if /proc/cpuinfo does not tell."""
    with open("/proc/cpuinfo") as cpuinfo:
        found = re.search(r"^cpu MHz\s*: ([0-9.]+)", cpuinfo.read(), re.MULTILINE)
    return int(float(found[1]) * 1e6) if found else 0


def command_line(*extra, console="ttyS0", ticks=100):
    """The kernel command line for this host; `ticks` is the kernel's HZ (Debian's: 250).

    README.md says what each of the options for hosts without VMX/SVM is for."""
    options = [f"console={console}", "panic=-1"]
    if not has_hardware_virtualization():
        options += ["reboot=t", "noxsave", "mitigations=off", "tsc=reliable", "vdso=0",
                    "rodata=off", "swiotlb=noforce",
                    "rcupdate.rcu_cpu_stall_suppress=1",
                    "clearcpuid=smap,smep,umip,popcnt,fsgsbase,erms,fsrm,rdrand,rdseed"]
        if host_hertz():
            options.append(f"lpj={host_hertz() // ticks}")
    return " ".join([*options, *extra])


def run_script(name):
    """Runs a script of this folder and returns the path that it prints."""
    result = subprocess.run([os.path.join(HERE, name)], stdout=subprocess.PIPE, text=True)
    if result.returncode == SKIPPED:
        raise Skip(f"{name} could not get its files from Debian's archive")
    if result.returncode:
        raise Failure(f"{name} failed with exit status {result.returncode}")
    return result.stdout.strip()


def kernel_path(name):
    """`vmlinux` and `bzImage[.xz|.lz4|.zstd]` of the small kernel, `debian`, or a path."""
    if name == "debian":
        return run_script("debian-kernel")
    if "/" in name:
        return name
    path = os.path.join(run_script("build-kernel"), name)
    if not os.path.exists(path):
        raise Failure(f"the small kernel comes in no form '{name}'")
    return path


def make_initramfs(output, scripts=(), files=()):
    """Writes an initramfs with test scripts and (source, destination) files to `output`."""
    command = [os.path.join(HERE, "make-initramfs"), "-o", output]
    for source, destination in files:
        command += ["-f", f"{source}={destination}"]
    status = subprocess.run([*command, *scripts]).returncode
    if status == SKIPPED:
        raise Skip("no static busybox could be got from Debian's archive")
    if status:
        raise Failure(f"make-initramfs failed with exit status {status}")
    return output


def require_kvm():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Skip("/dev/kvm is missing or not accessible")


def run_command(ringvisor, kernel, cmdline, initrd=None, memory="256M", cpus=1):
    """The command of one guest in the foreground, its serial port on stdin and stdout."""
    command = [ringvisor, "run", "--kernel", kernel, "--cmdline", cmdline, "--memory", memory,
               "--cpus", str(cpus), "--serial", "stdio"]
    return command + (["--initrd", initrd] if initrd else [])


def qemu_command(kernel, cmdline, initrd=None, memory="256M", cpus=1,
                 cpu="max", accel="tcg"):
    """The same guest under QEMU's own interpreter: tells a kernel's fault from the monitor's."""
    command = ["qemu-system-x86_64", "-accel", accel, "-M", "q35", "-cpu", cpu, "-nodefaults",
               "-display", "none", "-serial", "stdio", "-no-reboot", "-smp", str(cpus),
               "-m", memory, "-kernel", kernel, "-append", cmdline]
    return command + (["-initrd", initrd] if initrd else [])


class Console:
    """A guest's console on two file descriptors (owned by the caller), as expect(1) sees it.

    `log` is an open binary file that gets every byte read, or None."""

    def __init__(self, reader, writer, log=None):
        self.reader, self.writer, self.log = reader, writer, log
        self.text = bytearray()  # all that was read
        self.seen = 0  # where the next expect begins
        self.ended = False

    def read_more(self, deadline):
        """Reads what is there, waiting for it until the deadline; False at the end of file."""
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self.reader], [], [], left)[0]:
            raise TimeoutError
        try:
            data = os.read(self.reader, 65536)
        except OSError:  # a terminal whose other side is gone
            data = b""
        if self.log and data:
            self.log.write(data)
            self.log.flush()
        self.text += data
        self.ended = not data
        return bool(data)

    def expect(self, pattern, seconds=STEP_SECONDS, dead=DEAD_GUEST):
        """Waits for the regular expression behind what the last expect matched; the match."""
        pattern = re.compile(pattern.encode() if isinstance(pattern, str) else pattern)
        deadline = time.monotonic() + seconds
        while True:
            # Both searches look at the whole rest, since a match may come in pieces.
            rest = bytes(self.text[self.seen:])
            found = pattern.search(rest)
            if found:
                self.seen += found.end()
                return found
            died = dead and re.search(dead, rest)
            if died:
                raise Failure(f"the guest died: {died[0].decode(errors='replace')}")
            try:
                if not self.read_more(deadline):
                    raise Failure(f"the console ended before {pattern.pattern!r}{self.tail()}")
            except TimeoutError:
                raise Failure(
                    f"no {pattern.pattern!r} within {seconds} s{self.tail()}") from None

    def send(self, text, seconds=STEP_SECONDS):
        """Types the text, reading on meanwhile so that neither side can block the other."""
        data = text.encode() if isinstance(text, str) else text
        deadline = time.monotonic() + seconds
        while data:
            readers = [] if self.ended else [self.reader]
            ready, writable, _ = select.select(readers, [self.writer], [],
                                               max(0, deadline - time.monotonic()))
            if ready:
                self.read_more(deadline)
            if writable:
                # Small writes: select promises room for no more than these in a pipe.
                data = data[os.write(self.writer, data[:512]):]
            elif not ready:
                raise Failure(f"the console took no input for {seconds} s")

    def read_to_end(self, seconds=EXIT_SECONDS):
        """Reads on until the other side closes the console."""
        deadline = time.monotonic() + seconds
        try:
            while not self.ended and self.read_more(deadline):
                pass
        except TimeoutError:
            raise Failure(f"the console did not end within {seconds} s{self.tail()}") from None

    def wait_verdict(self, name, seconds=STEP_SECONDS):
        """Waits for the test script `name` (without .sh) to end; fails if it did."""
        found = self.expect(rb"VERDICT (?:\d+-)?" + re.escape(name.encode())
                            + rb" (ok|failed: [^\r\n]*)\r?\n", seconds)
        if found[1] != b"ok":
            raise Failure(f"{name} {found[1].decode(errors='replace')}")

    def lines(self):
        """All that was read so far, as lines of text."""
        return self.text.decode(errors="replace").replace("\r", "").split("\n")

    def tail(self):
        last = [line for line in self.lines() if line.strip()][-5:]
        return "; the console's last lines:\n  " + "\n  ".join(last) if last else \
            "; the console stayed empty"


class Guest:
    """A process that runs one guest, its console on stdin and stdout; a context manager.

    What it writes to stderr goes to `log_path` + ".stderr", its console to `log_path`."""

    def __init__(self, command, log_path):
        os.makedirs(os.path.dirname(os.path.abspath(log_path)), exist_ok=True)
        self.command = command
        self.error_path = log_path + ".stderr"
        self.log = open(log_path, "wb")
        with open(self.error_path, "wb") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=errors, bufsize=0)
        self.console = Console(self.process.stdout.fileno(), self.process.stdin.fileno(), self.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def errors(self):
        with open(self.error_path, errors="replace") as file:
            return file.read().strip()

    def wait_exit(self, wanted=0, seconds=EXIT_SECONDS):
        """Reads the console to its end and waits for the process; fails on another status."""
        self.console.read_to_end(seconds)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.command[0]} did not end within {seconds} s") from None
        if status != wanted:
            raise Failure(f"{self.command[0]} ended with status {status}, not {wanted}: "
                          f"{self.errors() or 'without a word'}")

    def stop(self):
        """Ends the process, by force if it must be; then its files. Returns its status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(EXIT_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()
        return self.process.returncode


def main(test):
    """Runs `test()` as a ctest test: its failure on stderr, status 0, 1 or SKIPPED."""
    started = time.monotonic()
    try:
        test()
    except Skip as reason:
        print(f"skipped: {reason}", file=sys.stderr)
        sys.exit(SKIPPED)
    except Failure as reason:
        print(f"failed: {reason}", file=sys.stderr)
        sys.exit(1)
    print(f"ok ({time.monotonic() - started:.0f} s)")
