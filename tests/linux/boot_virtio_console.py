#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`ringvisor run` on a terminal, the small kernel's console on virtio there: a script talks over it,
then somebody logs in and changes the size of the terminal."""
import argparse
import fcntl
import os
import struct
import sys
import tempfile
import termios

import linux_guest
import session
from boot_small_kernel import talk
from linux_guest import EXIT_SECONDS, Failure

sys.path.insert(0, os.path.join(linux_guest.HERE, "..", "support"))
from terminal import Terminal  # noqa: E402


def resize(terminal, rows, columns):
    fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def use(terminal, console):
    """A session: its shell follows the size of the terminal."""
    session.login(console)
    session.command(console, "tty", "/dev/hvc0")
    resize(terminal, 50, 132)
    session.command(console, "until stty size | grep '50 132'; do sleep .1; done", "50 132")
    session.logout(console)


def check_log(log):
    linux_guest.check_log(log)
    if "printk: console [hvc0] enabled" not in log:
        raise Failure("the kernel's log does not tell of hvc0")


def boot(args):
    linux_guest.require_kvm()
    talk_script = os.path.join(linux_guest.HERE, "guest", "talk.sh")
    os.makedirs(args.logs, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        initrd = linux_guest.make_initramfs(os.path.join(folder, "initramfs"), [talk_script])
        command = linux_guest.run_command(
            args.ringvisor, linux_guest.kernel_path("vmlinux"),
            linux_guest.command_line("ringvisor_end=login", console="hvc0"), initrd, "128M")
        command += ["--serial", "none", "--console", "stdio"]
        with open(os.path.join(args.logs, "linux-virtio.log"), "wb") as log, \
                Terminal(command) as terminal:
            console = linux_guest.Console(terminal.master, terminal.master, log)
            console.expect("Run /init as init process", linux_guest.BOOT_SECONDS)
            talk(console)
            console.wait_verdict("talk")
            use(terminal, console)
            session.login(console)
            check_log(session.kernel_log(console))
            console.send("poweroff -f\n")
            status = terminal.wait(EXIT_SECONDS)
        if status:
            raise Failure(f"the monitor ended with status {status}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ringvisor", metavar="PATH", required=True, help="the monitor")
    parser.add_argument("--logs", default=".", metavar="FOLDER")
    arguments = parser.parse_args()
    linux_guest.main(lambda: boot(arguments))
