#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots Debian's own cloud kernel from its vmlinuz until its console prints its version."""
import argparse
import os

import linux_guest


def boot(args):
    # Its first lines come through the early console: minutes before the real one is set up,
    # where kernel mode is interpreted.
    cmdline = linux_guest.command_line("earlyprintk=ttyS0,115200", ticks=250)
    kernel = linux_guest.kernel_path("debian")
    if args.ringvisor:
        linux_guest.require_kvm()
        command = linux_guest.run_command(args.ringvisor, kernel, cmdline, memory="512M")
    else:
        command = linux_guest.qemu_command(kernel, cmdline, memory="512M")
    log_path = os.path.join(args.logs, "linux-debian.log")
    with linux_guest.Guest(command, log_path) as guest:
        guest.console.expect(r"Linux version 6\.1\.", linux_guest.BOOT_SECONDS)
        guest.console.expect(r"Command line: .*earlyprintk=ttyS0")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ringvisor", metavar="PATH", help="the monitor; without it: QEMU's TCG")
    parser.add_argument("--logs", default=".", metavar="FOLDER")
    arguments = parser.parse_args()
    linux_guest.main(lambda: boot(arguments))
