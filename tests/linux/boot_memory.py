#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory that moves between the host and a Linux guest of a daemon: free page reporting, the balloon,
virtio-mem; the figures of both sides are compared.

Sizes are small: where kernel mode is interpreted, a page that a process takes costs some 10 ms."""
import argparse
import re

import linux_guest
from daemon_guest import DaemonGuest, arguments, expect_equal, wait_until
from linux_guest import Failure

MIB, MIB_PAGES = 1 << 20, 256
MEMORY_MIB, REGION_MIB = 96, 256
# A memory block of Linux is 128 MiB; the device's blocks are smaller.
BLOCK_MIB, PLUG_MIB = 2, 128
FREE_MEMORY, TOTAL_MEMORY = 4, 5  # tags of the statistics


def at_least(what, got, least):
    if got < least:
        raise Failure(f"{what} is {got}, less than {least}")


class Machine:
    """The guest's memory as each side sees it, in MiB."""

    def __init__(self, guest):
        self.guest = guest
        self.balloon, self.mem = guest.guest.balloon(), guest.guest.mem()

    def shown(self, file, pattern):
        """A figure of /proc/meminfo or the like."""
        text = self.guest.obey(f"cat {file}")
        found = re.search(pattern, text)
        if not found:
            raise Failure(f"{file} has no '{pattern}': {text}")
        return int(found[1])

    def free(self):
        return self.shown("/proc/meminfo", r"MemFree: *(\d+) kB") // 1024

    def total(self):
        return self.shown("/proc/meminfo", r"MemTotal: *(\d+) kB") // 1024

    def movable_free(self):
        """What is free of the memory that was plugged."""
        return self.shown("/proc/zoneinfo", r"zone +Movable\s+pages free +(\d+)") // MIB_PAGES

    def resident(self):
        return self.guest.resident() // MIB

    def process(self):
        """The resident size of the daemon's process in shared memory, to which guests' belongs."""
        return self.guest.daemon.status("RssShmem") // 1024

    def statistic(self, tag):
        status, values = self.balloon.stats()
        expect_equal("the status of the statistics", status, 0)
        return values[tag] // MIB

    def inflate(self, mib):
        pages = mib * MIB_PAGES
        self.balloon.request(pages)
        wait_until(f"a balloon of {mib} MiB", lambda: self.balloon.size() == (pages, pages))

    def plug(self, mib):
        self.mem.request(mib * MIB)
        wait_until(f"a plugged size of {mib} MiB",
                   lambda: self.mem.size()["plugged_size"] == mib * MIB)

    def hold(self, options, mib):
        """A process that holds memory until it is released."""
        self.guest.obey("mkfifo /tmp/hold; exec 9<>/tmp/hold")
        self.guest.obey(f"memory_user {options} {mib} <&9 >/tmp/user & user=$!")
        self.guest.obey("wait_until 600 grep -q . /tmp/user")

    def release(self):
        """Its memory has to be what it was."""
        said = self.guest.obey("echo >&9; wait $user && exec 9>&- && rm /tmp/hold; cat /tmp/user")
        if not re.fullmatch(r"holds (\d+) MiB\nkept \1 MiB\n", said):
            raise Failure(f"the process that held memory says: {said}")


def report_free_pages(machine):
    """What a process has freed leaves the host as well, without anybody's request."""
    # In runs of 16: in those of 1024, as by default, Linux reports only where 128 MiB are free.
    machine.guest.obey("echo 4 >/sys/module/page_reporting/parameters/page_reporting_order")
    # The first of its pages come from runs that are too short to be reported.
    machine.hold("", 8)
    full, process = machine.resident(), machine.process()
    machine.release()
    wait_until("a fall by 4 MiB", lambda: full - machine.resident() >= 4)
    wait_until("the fall of the daemon's size", lambda: process - machine.process() >= 4)


def use_balloon(machine):
    """Pages that are free one by one are reported by nobody, but the balloon takes them."""
    machine.hold("-s", 6)
    free, full, process = machine.free(), machine.resident(), machine.process()
    reported = machine.statistic(FREE_MEMORY)
    machine.inflate(free - 4)
    shrunk = free - 8
    at_least("what is no longer free", free - machine.free(), shrunk)
    at_least("what the statistics miss", reported - machine.statistic(FREE_MEMORY), shrunk)
    at_least("the fall of the guest's resident size", full - machine.resident(), 2)
    at_least("the fall of the daemon's resident size", process - machine.process(), 2)
    machine.release()


def deflate_on_need(machine):
    """A process needs more than there is beside the balloon; then all goes back."""
    actual, wanted = machine.balloon.size()
    need = machine.free() + 2
    machine.hold("", need)
    at_least("MiB taken from the balloon", (actual - machine.balloon.size()[0]) // MIB_PAGES, 1)
    expect_equal("the pages that are asked for", machine.balloon.size()[1], wanted)
    machine.release()
    machine.inflate(0)
    at_least("what is free without a balloon", machine.free(), need)


def use_mem(machine):
    """Blocks are plugged, used by a process, unplugged below it, and all are gone in the end."""
    total = machine.total()
    expect_equal("the plugged size", machine.mem.size()["plugged_size"], 0)
    machine.plug(PLUG_MIB)
    machine.guest.obey("wait_until 60 grep -q online /sys/devices/system/memory/memory32/state")
    expect_equal("MemTotal's growth", machine.total() - total, PLUG_MIB)
    expect_equal("the statistics' total", machine.statistic(TOTAL_MEMORY), total + PLUG_MIB)
    free = machine.movable_free()
    machine.hold("", 4)
    at_least("plugged memory in use", free - machine.movable_free(), 3)
    machine.plug(32)
    expect_equal("MemTotal with 32 MiB plugged", machine.total(), total + 32)
    machine.release()
    machine.plug(0)
    # The guest counts a whole block of its own once more while it takes that offline.
    machine.guest.obey("wait_until 60 test ! -e /sys/devices/system/memory/memory32")
    expect_equal("MemTotal with nothing plugged", machine.total(), total)
    log = machine.guest.obey("dmesg")
    for size in PLUG_MIB, 32, 0:
        if not re.search(rf"virtio_mem virtio\d+: requested size: {size * MIB:#x}\n", log):
            raise Failure(f"the kernel's log does not tell of a request for {size} MiB")
    linux_guest.check_log(log)


def boot(args):
    # Plugged memory is for what can move, so that it can be unplugged again.
    with DaemonGuest(args, "linux-memory.log", ["obey.sh"], ["memory_user"],
                     "memhp_default_state=online_movable", memory_mib=MEMORY_MIB,
                     virtio_balloon=1, virtio_mem=1, virtio_mem_region_size=REGION_MIB * MIB,
                     virtio_mem_block_size=BLOCK_MIB * MIB) as guest:
        guest.start()
        guest.console.expect(r"READY to obey\r?\n")
        machine = Machine(guest)
        for step in report_free_pages, use_balloon, deflate_on_need, use_mem:
            print(f"{step.__name__}: {step.__doc__}", flush=True)
            step(machine)
        guest.begin("poweroff -f")
        expect_equal("what the daemon tells after a power-off", guest.wait_end(), [])


if __name__ == "__main__":
    arguments_given = arguments(argparse.ArgumentParser(description=__doc__))
    linux_guest.main(lambda: boot(arguments_given))
