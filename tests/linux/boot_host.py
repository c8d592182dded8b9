#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Another host: Debian's cloud kernel (6.1) with hardware virtualization, under QEMU's interpreter, which
has SVM. In it the reactor's and KVM's tests run, a daemon with a guest of two CPUs, and ringtrace."""
import argparse
import os
import re
import shutil
import subprocess
import tempfile

import linux_guest

SCRIPT = os.path.join(linux_guest.HERE, "guest", "host.sh")
MODULES = ("irqbypass.ko", "kvm.ko", "kvm-amd.ko")


def libraries(programs):
    """All shared objects that the programs need, the dynamic linker among them."""
    found = set()
    for program in programs:
        listed = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True)
        found |= set(re.findall(r"(/\S+) \(0x", listed.stdout))
    return sorted(found)


def contents(args, kernel):
    """(source, destination) of all files."""
    tools = [args.ringvisor, args.ringctl, args.ringtrace]
    folder = os.path.dirname(kernel)
    return ([(os.path.join(folder, module), f"/modules/{module}") for module in MODULES]
            + [(tool, f"/bin/{os.path.basename(tool)}") for tool in tools]
            + [(test, f"/programs/{os.path.basename(test)}") for test in args.tests]
            + [(library, library) for library in libraries(tools + args.tests)])


def boot(args):
    if not shutil.which("qemu-system-x86_64"):
        raise linux_guest.Skip("qemu-system-x86_64 is not installed")
    kernel = linux_guest.kernel_path("debian")
    with tempfile.TemporaryDirectory() as folder:
        initrd = linux_guest.make_initramfs(os.path.join(folder, "initramfs.gz"), [SCRIPT],
                                            contents(args, kernel))
        # A thread for each CPU is no faster here, and at times all of the machine stands still then.
        command = linux_guest.qemu_command(
            kernel, "console=ttyS0 panic=-1 quiet mitigations=off tsc=reliable", initrd,
            memory="2G", cpus=2, cpu="max,la57=off", accel="tcg,thread=single")
        with linux_guest.Guest(command, os.path.join(args.logs, "linux-host.log")) as guest:
            guest.console.wait_verdict("host", linux_guest.BOOT_SECONDS)
            guest.wait_exit()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for tool in "ringvisor", "ringctl", "ringtrace":
        parser.add_argument(f"--{tool}", metavar="PATH", required=True)
    parser.add_argument("--logs", default=".", metavar="FOLDER")
    parser.add_argument("tests", nargs="+", metavar="TEST", help="programs that have to succeed")
    arguments = parser.parse_args()
    linux_guest.main(lambda: boot(arguments))
