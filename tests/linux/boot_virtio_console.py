#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots the small kernel with its console on virtio and talks on it; the entropy device as well."""
import argparse
import os
import re
import tempfile

import linux_guest
from boot_small_kernel import KNOWN, TROUBLE, talk
from linux_guest import Failure

SCRIPTS = ("devices.sh", "talk.sh")


def check_log(log):
    trouble = [line for line in log.split("\n") if TROUBLE.search(line) and KNOWN not in line]
    if trouble:
        raise Failure("the kernel complains:\n  " + "\n  ".join(trouble))
    if not re.search(r"printk: console \[hvc0\] enabled", log):
        raise Failure("the kernel's log does not tell of hvc0")


def boot(args):
    linux_guest.require_kvm()
    scripts = [os.path.join(linux_guest.HERE, "guest", name) for name in SCRIPTS]
    with tempfile.TemporaryDirectory() as folder:
        initrd = linux_guest.make_initramfs(os.path.join(folder, "initramfs"), scripts)
        command = linux_guest.run_command(
            args.ringvisor, linux_guest.kernel_path("vmlinux"),
            linux_guest.command_line(console="hvc0"), initrd, "128M")
        command += ["--serial", "none", "--console", "stdio", "--virtio-rng", "on"]
        with linux_guest.Guest(command, os.path.join(args.logs, "linux-virtio.log")) as guest:
            guest.console.expect("Run /init as init process", linux_guest.BOOT_SECONDS)
            guest.console.wait_verdict("devices")
            talk(guest.console)
            guest.console.wait_verdict("talk")
            guest.wait_exit()
            check_log("\n".join(guest.console.lines()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ringvisor", metavar="PATH", required=True, help="the monitor")
    parser.add_argument("--logs", default=".", metavar="FOLDER")
    arguments = parser.parse_args()
    linux_guest.main(lambda: boot(arguments))
