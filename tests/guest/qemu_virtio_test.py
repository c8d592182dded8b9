#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The embedded guest's virtio driver against the devices of Debian's QEMU.

usage: qemu_virtio_test.py GUEST_ELF

So a fault that the driver and our devices might share is seen. Exit status 77 means skipped.
"""

import os
import socket
import struct
import tempfile

from qemu_test import Failed, Guest, KVM, TCG, TIMEOUT_S, run_cases

PATTERN_PERIOD = 65536
MASK64 = (1 << 64) - 1


def splitmix64(state):
    state = state + 0x9E3779B97F4A7C15 & MASK64
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK64
    state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK64
    return state ^ state >> 31


PATTERNS = {
    "count": bytes(i & 0xFF for i in range(PATTERN_PERIOD)),
    "mix": struct.pack("<8192Q", *map(splitmix64, range(PATTERN_PERIOD // 8))),
}


def pattern(name, size):
    return (PATTERNS[name] * (size // PATTERN_PERIOD + 1))[:size]


class VirtioGuest(Guest):
    """With an rng and a console, whose other end is self.console."""

    def __init__(self, elf, accel, packed, cpus=1, port=0):
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, "console")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        common = f"disable-legacy=on,packed={'on' if packed else 'off'}"
        super().__init__(elf, accel, [
            "-m", "64", "-smp", str(cpus),
            "-device", f"virtio-rng-pci,{common}",
            "-device", f"virtio-serial-pci,max_ports={port + 1},{common}",
            "-chardev", f"socket,id=c,path={path}",
            "-device", "virtserialport,chardev=c,nr=1" if port else "virtconsole,chardev=c",
        ], machine="q35")
        listener.settimeout(TIMEOUT_S)
        try:
            with listener:
                self.console, _ = listener.accept()
        except OSError:
            super().__exit__()
            raise
        self.console.settimeout(TIMEOUT_S)

    def __exit__(self, *exception):
        super().__exit__(*exception)
        self.console.close()
        self.folder.cleanup()

    def start(self, line):
        """Types a command that talks to the console and waits until it is ready to."""
        self.expect("> ")
        self.type(line + "\r")
        self.expect("console ready")

    def receive(self, size):
        data = b""
        while len(data) < size:
            part = self.console.recv(size - len(data))
            if not part:
                raise Failed(f"the console ended after {len(data)} of {size} bytes")
            data += part
        return data


def devices_are_listed(guest):
    guest.command("pci")
    guest.expect("> ")
    guest.type("virtio\r")
    guest.expect(" rng type=4 ")
    guest.expect(" console type=3 ")
    guest.expect("VERDICT virtio ok")


def rng_draws(guest, options):
    guest.command("rng")
    guest.command(f"rng 100000 poll {options}")
    guest.command(f"rng 100000 irq {options}")
    guest.command(f"rng 50000 indirect {options}")
    guest.command(f"rng 50000 noevent queue=4 {options}")


def console_streams(guest, options):
    for more in ("poll buf=65536", "irq", "irq noevent buf=100", "indirect queue=16"):
        # No more than the socket takes: a console of QEMU's drops what does not fit.
        size = 5000 if "100" in more else 70001
        guest.start(f"console source {size} {more} {options}")
        if guest.receive(size) != pattern("mix", size):
            raise Failed(f"source {more}: other bytes came")
        guest.expect("VERDICT console ok")
        guest.start(f"console sink {size} count {more} {options}")
        guest.console.sendall(pattern("count", size))
        guest.expect("VERDICT console ok")
    guest.start(f"console send 100 {options}")
    if guest.receive(100) != pattern("count", 100):
        raise Failed("send: other bytes came")
    guest.expect("VERDICT console ok")


def console_echoes(guest, options):
    guest.start(f"console echo {options}")
    text = b"one\ntwo, not the\nend yet\nend\n"
    guest.console.sendall(text)
    if guest.receive(len(text)) != text:
        raise Failed("the echo is not what was sent")
    guest.expect("VERDICT console ok")
    for mode in ("poll", "irq"):
        guest.start(f"console pingpong 50 1000 {mode} {options}")
        for i in range(50):
            message = bytes([i]) * 1000
            guest.console.sendall(message)
            if guest.receive(1000) != message:
                raise Failed(f"round {i} came back with other bytes")
        guest.expect("VERDICT console ok")
        guest.start(f"console ping 50 64 {mode} {options}")
        for i in range(50):
            guest.console.sendall(guest.receive(64))
        guest.expect(" p99_ns=")
        guest.expect("VERDICT console ok")


def wrong_words_are_refused(guest):
    for line in ("console", "console sink", "console send 5 nonsense", "console ping 5",
                 "rng 0", "rng 5 nonsense"):
        guest.expect("> ")
        guest.type(line + "\r")
        guest.expect(f"VERDICT {line.split()[0]} failed: ")


def split(elf, accel):
    with VirtioGuest(elf, accel, packed=False) as guest:
        devices_are_listed(guest)
        rng_draws(guest, "split")
        console_streams(guest, "split")
        console_echoes(guest, "split")
        wrong_words_are_refused(guest)
        guest.expect("> ")
        guest.type("rng 5 packed\r")
        guest.expect("VERDICT rng failed: the device does not offer packed rings")


def packed(elf, accel):
    with VirtioGuest(elf, accel, packed=True) as guest:
        rng_draws(guest, "packed")
        console_streams(guest, "packed")
        console_echoes(guest, "packed")
        rng_draws(guest, "split")  # from one to the other


def ports(elf, accel):
    """A port that is not the console drops nothing, so here much can be sent at once."""
    size = 3000001
    with VirtioGuest(elf, accel, packed=True, port=1) as guest:
        for options in ("split", "packed", "packed irq buf=65536", "split poll buf=10000"):
            guest.start(f"console source {size} port=1 {options}")
            if guest.receive(size) != pattern("mix", size):
                raise Failed(f"source {options}: other bytes came")
            guest.expect("VERDICT console ok")
            guest.start(f"console sink {size} mix port=1 {options}")
            guest.console.sendall(pattern("mix", size))
            guest.expect("VERDICT console ok")


# What QEMU 7.2 takes as it should. It lets other cases pass, or hangs in them; with packed rings it
# hangs as soon as a queue breaks.
HOSTILE_SPLIT = """readable-after-writable zero-length-second self-loop loop next-at-size head-at-size
    index-over-size two-cpus""".split()
HOSTILE_BOTH = """features-late status-regresses doorbells-nobody-has vectors-out-of-range
    reads-everywhere config-written msix-nonsense bar-moves decoding-off kick-storm reset-storm
    reset-in-flight event-nonsense vector-masked function-masked vector-moved
    queue-resets""".split()


def hostile(elf, accel):
    """Shows that the cases can be run, and that one can fail; QEMU is not what they are for."""
    with VirtioGuest(elf, accel, packed=True, cpus=2) as guest:
        guest.expect("> ")
        for options, cases in (("split", HOSTILE_SPLIT + HOSTILE_BOTH), ("packed", HOSTILE_BOTH)):
            for case in cases:
                guest.type(f"hostile {case} {options}\r")
                guest.expect(f"VERDICT hostile {case} ")
                verdict = guest.expect("\n")
                if not verdict.startswith(b"ok"):
                    raise Failed(f"hostile {case} {options}: {verdict.decode()}")
                guest.expect("> ")
        guest.type("hostile table-unnegotiated split\r")  # QEMU serves it
        guest.expect("VERDICT hostile table-unnegotiated failed: ")
        guest.expect("VERDICT hostile failed: ")


if __name__ == "__main__":
    run_cases([(split, KVM), (packed, KVM), (split, TCG), (packed, TCG), (ports, KVM), (ports, TCG),
               (hostile, TCG)])
