#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A Linux guest of a daemon: devices whose drivers come and go, a session on GetConsole, a reboot,
and after it vsock."""
import argparse

import linux_guest
import session
from daemon_guest import DaemonGuest, arguments, expect_equal
from linux_guest import Failure
from vsock_host import MIB, VsockHost

# Without its driver the console is hung up, and with it the shell, but not what ignores that.
REBIND_CONSOLE = ("cd /sys/bus/virtio/drivers/virtio_console; (trap '' HUP; d=$(echo virtio*);"
                  " echo $d >unbind; echo $d >bind) </dev/null >/dev/null 2>&1 &\n")


def begin(guest):
    """Up to where the guest obeys; the scripts before have passed."""
    guest.start()
    guest.console.wait_verdict("devices")
    guest.console.expect(r"READY to obey\r?\n")


def use(guest):
    """A session at the console, from two handles one after the other."""
    session.login(guest.console)
    session.command(guest.console, "tty; id -u; echo $((6 * 7))", r"/dev/hvc0\r\n0\r\n42")
    guest.attach()
    text = "abcdefghijklmnopqrstuvwxyz" * 2
    session.command(guest.console, f"echo {text} | tr a-z A-Z", text.upper())


def rebind_console(guest):
    guest.console.send(REBIND_CONSOLE)
    session.login(guest.console)
    session.command(guest.console, "echo again $((6 * 7))", "again 42")


def reboot(guest):
    guest.console.send("reboot -f\n")
    problems = guest.wait_end()
    if len(problems) != 1 or "asked for a reboot" not in problems[0]:
        raise Failure(f"after a reboot the daemon tells of {problems}")


def use_vsock(vsock):
    vsock.guest_connects(16 * MIB)
    vsock.guest_listens(MIB, vsock.connect)
    vsock.messages(MIB)
    vsock.refusals()
    vsock.rebind()


def boot(args):
    with DaemonGuest(args, "linux-daemon.log", ["devices.sh", "obey.sh"], ["vsock_peer"],
                     "ringvisor_end=login", virtio_rng=1, virtio_vsock=1, uds="v") as guest:
        begin(guest)
        guest.begin("finish")
        use(guest)
        rebind_console(guest)
        linux_guest.check_log(session.kernel_log(guest.console))
        reboot(guest)

        begin(guest)
        use_vsock(VsockHost(guest))
        linux_guest.check_log(guest.obey("dmesg"))
        guest.begin("poweroff -f")
        expect_equal("what the daemon tells after a power-off", guest.wait_end(), [])


if __name__ == "__main__":
    arguments_given = arguments(argparse.ArgumentParser(description=__doc__))
    linux_guest.main(lambda: boot(arguments_given))
