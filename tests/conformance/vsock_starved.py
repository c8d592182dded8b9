#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A guest whose vsock driver sleeps: GuestInfo tells of it after a minute, and not before."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402

DISCARD = 9
SECONDS = 60
CONNECTIONS = 40  # that have more to send, with the guest's credit, than it has buffers


class Starved(daemon.Case):
    def problems(self):
        return self.client.get_info("web")["detected_problems"]

    def test_it_is_told_of(self):
        _, _, guest = self.running(virtio_vsock=1, guest_memory=64 << 20)
        serial, vsock = self.shell(guest), guest.vsock()
        sockets = [vsock.connect(DISCARD)[1] for _ in range(CONNECTIONS)]
        serial.send("spin 1000")
        serial.expect(b"spin 1000")
        start = time.monotonic()
        for sock in sockets:
            self.addCleanup(sock.close)
            sock.setblocking(False)
            try:
                while True:
                    sock.send(bytes(65536))
            except BlockingIOError:
                pass
        while not (problems := self.problems()):
            self.assertLess(time.monotonic() - start, SECONDS + daemon.PATIENCE)
            time.sleep(0.5)  # what is tested is how long it takes
        self.assertGreaterEqual(time.monotonic() - start, SECONDS - 1)
        self.assertRegex(problems[0],
                         r"^guest has not taken a single virtio-vsock buffer for 6\d s$")


if __name__ == "__main__":
    daemon.main()
