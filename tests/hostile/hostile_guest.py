#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A hostile guest under the daemon: the embedded guest does everything that a driver must not do, case
by case, while another guest and the control channel go on being served. What they took is measured
during each case and printed; the bound is one that only a stall would miss."""
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402
from daemon import Daemon, require_kvm  # noqa: E402
from vsock_peer import Peer  # noqa: E402

STALL_SECONDS = 20
CASE_SECONDS = 120
ECHO_PORT, DEAF_PORT, MESSAGE_PORT = 80, 81, 83  # tests/guest/hostile_vsock.h
HOSTILE_CID, NEIGHBOUR_CID = 3, 4
STORM_PORT = 82
STORMS, STORM_CONNECTIONS = 5, 20000
MEM_BLOCK = 2 << 20


class Serial:
    """The serial console of a guest."""

    def __init__(self, guest):
        self.sock = guest.serial()
        self.text = b""

    def close(self):
        self.sock.close()

    def send(self, line):
        self.sock.sendall(line.encode() + b"\n")

    def expect(self, pattern, seconds=CASE_SECONDS):
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern.encode(), self.text)):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                raise AssertionError(f"{pattern} did not come: {self.text[-2000:]}")
            data = self.sock.recv(65536)
            if not data:
                raise AssertionError(f"the console ended: {self.text[-2000:]}")
            self.text += data
        self.text = self.text[found.end():]
        return found


class Watcher(threading.Thread):
    """Uses the control channel and another guest without a pause; keeps what each round trip took."""

    def __init__(self, client, serial):
        super().__init__()
        self.client, self.serial = client, serial
        self.worst = {"control": 0.0, "guest": 0.0}
        self.rounds = 0
        self.failure = None
        self.over = False

    def round(self):
        start = time.monotonic()
        self.client.info()
        middle = time.monotonic()
        self.serial.send(f"echo round {self.rounds}")
        self.serial.expect(f"\nround {self.rounds}\r?\n", STALL_SECONDS)
        self.serial.expect("VERDICT echo ok", STALL_SECONDS)
        end = time.monotonic()
        self.worst["control"] = max(self.worst["control"], middle - start)
        self.worst["guest"] = max(self.worst["guest"], end - middle)
        self.rounds += 1

    def run(self):
        try:
            while not self.over or not self.rounds:
                self.round()
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure


# One that a test kills: accepts, and closes what it has accepted as soon as the other end has.
STORM_PEER = """
import os, select, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(1000)
print("ready", flush=True)
poll, socks = select.epoll(), {}
poll.register(listener, select.EPOLLIN)
while True:
    for fd, _ in poll.poll():
        if fd == listener.fileno():
            sock, _ = listener.accept()
            socks[sock.fileno()] = sock
            poll.register(sock, select.EPOLLIN)
        else:
            socks.pop(fd).close()
"""


def launch(client, name, setup=None, **more):
    guest = client.launch(name, wire.builtin(guest_memory=64 << 20, **more))
    if setup:
        setup(guest)
    serial = Serial(guest)
    serial.expect("\n> ")
    return serial


class HostileGuest(unittest.TestCase):
    def watched(self, d, hostile, command, verdict):
        """Runs one command of the hostile guest; the others have to be served meanwhile."""
        watcher = Watcher(d.watching, d.neighbour)
        watcher.start()
        try:
            hostile.send(command)
            found = hostile.expect(verdict)
        finally:
            watcher.over = True
            watcher.join()
        if watcher.failure:
            raise watcher.failure
        for what, seconds in watcher.worst.items():
            self.assertLess(seconds, STALL_SECONDS, f"{what} during {command}")
        print(f"{command:44} control {watcher.worst['control'] * 1e3:7.1f} ms, other guest "
              f"{watcher.worst['guest'] * 1e3:7.1f} ms, at most, in {watcher.rounds} rounds")
        return found

    def run_cases(self, device, ring):
        with Daemon() as d:
            client = d.client()
            d.watching = d.client()
            path = os.path.join(d.folder.name, "v")
            hostile = launch(client, "hostile", lambda guest: guest.mem().request(MEM_BLOCK),
                             cpus=2, virtio_console=True, virtio_rng=True, virtio_balloon=True,
                             virtio_mem=True, virtio_mem_region_size=64 * MEM_BLOCK,
                             virtio_vsock=True, vsock_uds_path=path, guest_cid=HOSTILE_CID,
                             vsock_guest_to_guest=True)
            peers = [Peer(f"{path}_{ECHO_PORT}"), Peer(f"{path}_{DEAF_PORT}", False),
                     Peer(f"{path}_{MESSAGE_PORT}", kind=socket.SOCK_SEQPACKET)]
            for peer in peers:
                peer.start()
            d.neighbour = launch(d.watching, "neighbour", virtio_vsock=True,
                                 guest_cid=NEIGHBOUR_CID, vsock_guest_to_guest=True)
            hostile.send("hostile list")
            listed = hostile.expect(r"(?s)hostile list\r?\n(.*?)VERDICT hostile ok")[1].decode()
            cases = re.findall(r"(?m)^([a-z0-9-]{3,})\b", listed)
            self.assertGreater(len(cases), 110, listed)
            for case in cases:
                found = self.watched(d, hostile, f"hostile {case} {device} {ring}",
                                     rf"VERDICT hostile {case} (ok|failed|skipped)([^\r\n]*)")
                self.assertNotEqual(found[1], b"failed", f"{case}: {found[2].decode()}")
                hostile.expect(r"VERDICT hostile (ok|failed[^\r\n]*)")
            # And it is still a guest like any other.
            hostile.send("rng 1000")
            hostile.expect("VERDICT rng ok")
            self.vsock_answers(path, hostile)
            client.force_shutdown("hostile")
            client.force_shutdown("neighbour")
            hostile.close()
            d.neighbour.close()
            for peer in peers:
                peer.close()

    @staticmethod
    def vsock_answers(path, serial):
        serial.send("vsock start")
        serial.expect("VERDICT vsock ok")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(STALL_SECONDS)
            sock.connect(path)
            sock.sendall(b"CONNECT 7\nhello")
            answer = b""
            while not answer.endswith(b"hello"):
                more = sock.recv(100)
                if not more:
                    raise AssertionError(f"vsock says only {answer}")
                answer += more

    def test_vsock_split(self):
        self.run_cases("vsock", "split")

    def test_vsock_packed(self):
        self.run_cases("vsock", "packed")

    def test_vsock_storm_while_the_peer_is_killed(self):
        with Daemon() as d:
            client = d.client()
            d.watching = d.client()
            path = os.path.join(d.folder.name, "v")
            hostile = launch(client, "hostile", virtio_vsock=True, vsock_uds_path=path)
            d.neighbour = launch(d.watching, "neighbour")
            self.storm(d, path, hostile)
            files = len(d.fds())
            for _ in range(STORMS):
                self.storm(d, path, hostile)
            self.vsock_answers(path, hostile)
            deadline = time.monotonic() + STALL_SECONDS
            while len(d.fds()) > files and time.monotonic() < deadline:
                d.watching.info()  # a round trip
            self.assertLessEqual(len(d.fds()), files)
            client.force_shutdown("hostile")
            client.force_shutdown("neighbour")
            hostile.close()
            d.neighbour.close()

    def storm(self, d, path, hostile):
        """Connections come and go until the peer is killed; then the guest is refused."""
        name = f"{path}_{STORM_PORT}"
        with subprocess.Popen([sys.executable, "-c", STORM_PEER, name],
                              stdout=subprocess.PIPE) as peer:
            self.assertEqual(peer.stdout.readline(), b"ready\n")
            killer = threading.Timer(0.3, peer.send_signal, [signal.SIGKILL])
            killer.start()
            try:
                self.watched(d, hostile, f"vsock storm {STORM_PORT} {STORM_CONNECTIONS * 100} 32",
                             r"VERDICT vsock failed: connection refused after \d+")
            finally:
                killer.join()
        os.unlink(name)

    def test_rng_split(self):
        self.run_cases("rng", "split")

    def test_rng_packed(self):
        self.run_cases("rng", "packed")

    def test_console_split(self):
        self.run_cases("console", "split")

    def test_console_packed(self):
        self.run_cases("console", "packed")


if __name__ == "__main__":
    require_kvm()
    daemon.PATIENCE = 120
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(files[1], 8192), files[1]))
    unittest.main(verbosity=2, argv=sys.argv)
