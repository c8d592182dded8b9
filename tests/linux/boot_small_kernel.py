#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots the small kernel in one of several machines, talks on its console, reads its log."""
import argparse
import hashlib
import os
import re
import tempfile

import linux_guest
from linux_guest import Failure

# Kernel form, memory in MiB, processors. Together: both entries, one and two processors, memory
# that just holds a kernel, that fills the room below the 32-bit hole, and that goes on above it.
#
# Where kernel mode is interpreted, Linux sets up 25 s of page structs for each GiB. There it leaves
# out `holes`, a memmap= and its MiB: it still reads the whole map, and has both ends of memory.
# With WHOLE_MEMORY set in the environment nothing is left out; that takes minutes there.
CASES = {
    "pvh-64m": ("vmlinux", 64, 1, "", 0),
    "bzimage-3g-2cpus": ("bzImage", 3072, 2, "memmap=2560M$256M", 2560),
    "bzimage-xz-5g": ("bzImage.xz", 5120, 1, "memmap=2816M$256M,1536M$4G", 4352),
}

WHOLE_MEMORY = "RINGVISOR_LINUX_WHOLE_MEMORY"

# RAM that the machine keeps back from the kernel lies below 1 MiB.
RESERVED_BYTES = 1 << 20


def find(log, pattern):
    """The match of the pattern in the log; a Failure names what is not there."""
    found = re.search(pattern, log, re.MULTILINE)
    if not found:
        raise Failure(f"the kernel's log has no line like '{pattern}'")
    return found


def usable_bytes(log):
    """The sum of the usable ranges in the memory map that the kernel was given."""
    ranges = re.findall(r"BIOS-e820: \[mem 0x([0-9a-f]+)-0x([0-9a-f]+)\] usable", log)
    return sum(int(last, 16) - int(first, 16) + 1 for first, last in ranges)


def check_log(log, memory_mib, cpus):
    linux_guest.check_log(log)
    find(log, r"Linux version 6\.1\.")
    memory = memory_mib << 20
    if not memory - RESERVED_BYTES <= usable_bytes(log) <= memory:
        raise Failure(f"the memory map's usable ranges sum up to {usable_bytes(log)} bytes of "
                      f"{memory}")
    find(log, rf"smpboot: Allowing {cpus} CPUs")
    if cpus > 1:
        find(log, rf"smp: Brought up 1 node, {cpus} CPUs")

    for table in "[RX]SDT", "FACP", "APIC", "MCFG", "DSDT":
        find(log, rf"ACPI: {table} 0x[0-9A-F]+ ")
    find(log, r"ACPI: Using ACPI \(MADT\) for SMP configuration information")
    find(log, r"ACPI: 1 ACPI AML tables successfully acquired and loaded")
    find(log, r"ACPI: Interpreter enabled")

    find(log, r"PCI: MMCONFIG for domain 0000 \[bus 00-")
    find(log, r"PCI: MMCONFIG at \[mem 0x[0-9a-f]+-0x[0-9a-f]+\] reserved (in|as) ")
    find(log, r"PCI host bridge to bus 0000:00")
    find(log, r"pci 0000:00:00\.0: \[[0-9a-f]{4}:[0-9a-f]{4}\] type 00 class 0x060000")
    find(log, r"ttyS0 at I/O 0x3f8 \(irq = \d+, .*is a 16550A")


def talk(console):
    console.expect(r"READY for a word\r?\n")
    console.send("ring-visor 42\n")
    console.expect(r"ring-visor 42\r?\n")  # the terminal's echo
    console.expect(r"GOT <ring-visor 42>\r?\n")
    line = "".join(chr(ord("a") + i * 7 % 26) for i in range(300))
    console.expect(r"READY for a line\r?\n")
    console.send(line + "\n")
    console.expect(rf"SUM <{len(line)} {hashlib.md5(line.encode()).hexdigest()}>\r?\n")


def boot(args):
    kernel, memory_mib, cpus, holes, holes_mib = CASES[args.case]
    if linux_guest.has_hardware_virtualization() or os.environ.get(WHOLE_MEMORY):
        holes, holes_mib = "", 0
    want = f"{holes} want_cpus={cpus} want_mib={memory_mib - holes_mib}"
    want += " want_config=4096" * bool(args.ringvisor)
    scripts = [os.path.join(linux_guest.HERE, "guest", name) for name in ("machine.sh", "talk.sh")]
    with tempfile.TemporaryDirectory() as folder:
        parts = (linux_guest.kernel_path(kernel), linux_guest.command_line(want),
                 linux_guest.make_initramfs(os.path.join(folder, "initramfs"), scripts),
                 f"{memory_mib}M", cpus)
        if args.ringvisor:
            linux_guest.require_kvm()
            command = linux_guest.run_command(args.ringvisor, *parts)
        else:
            command = linux_guest.qemu_command(*parts)
        log_path = os.path.join(args.logs, f"linux-{args.case}.log")
        with linux_guest.Guest(command, log_path) as guest:
            guest.console.expect("Run /init as init process", linux_guest.BOOT_SECONDS)
            guest.console.wait_verdict("machine")
            talk(guest.console)
            guest.console.wait_verdict("talk")
            guest.wait_exit()
            check_log("\n".join(guest.console.lines()), memory_mib, cpus)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ringvisor", metavar="PATH", help="the monitor; without it: QEMU's TCG")
    parser.add_argument("--logs", default=".", metavar="FOLDER")
    parser.add_argument("case", choices=CASES)
    arguments = parser.parse_args()
    linux_guest.main(lambda: boot(arguments))
