#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots a bzImage whose payload the host does not recognise: it is entered by its own 64-bit entry and
unpacks itself in the guest, until its console prints its version."""
import argparse
import os
import struct
import tempfile

import linux_guest

# Linux boot protocol §1.3: where the setup header says that the payload is. The kernel's own
# unpacking does not look at it.
PAYLOAD_OFFSET = 0x248
SHIFT = 64


def spoil(source, target):
    with open(source, "rb") as f:
        image = bytearray(f.read())
    offset, length = struct.unpack_from("<II", image, PAYLOAD_OFFSET)
    struct.pack_into("<II", image, PAYLOAD_OFFSET, offset + SHIFT, length - SHIFT)
    with open(target, "wb") as f:
        f.write(image)


def boot(args):
    linux_guest.require_kvm()
    cmdline = linux_guest.command_line("earlyprintk=ttyS0,115200", "nokaslr")
    kernel = linux_guest.kernel_path("bzImage.lz4")
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "bzImage")
        spoil(kernel, image)
        command = linux_guest.run_command(args.ringvisor, image, cmdline, memory="256M")
        with linux_guest.Guest(command, os.path.join(args.logs, "linux-own-entry.log")) as guest:
            guest.console.expect(r"Linux version 6\.1\.", linux_guest.BOOT_SECONDS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ringvisor", metavar="PATH", required=True, help="the monitor")
    parser.add_argument("--logs", default=".", metavar="FOLDER")
    arguments = parser.parse_args()
    linux_guest.main(lambda: boot(arguments))
