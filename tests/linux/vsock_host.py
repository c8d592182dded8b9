# SPDX-License-Identifier: Apache-2.0
"""The host's end of the vsock tests, by HostVsockEndpoint and by the Unix-socket bridge;
guest/vsock_peer.c is the other.

The peers that Linux refuses get ECONNRESET: its virtio transport has no ECONNREFUSED."""
import contextlib
import itertools
import os
import re
import socket
import zlib

from daemon_guest import expect_equal, wire
from linux_guest import STEP_SECONDS, Failure

PATTERN_BYTES = 65521
PIECES = (65536, 1, 4096, 16384, 100, 32768)
MIB = 1 << 20
HOST, NOBODY = 2, 77  # context identifiers


def pattern(count):
    """What vsock_peer sends."""
    state, block = 1, bytearray()
    for _ in range(PATTERN_BYTES):
        state = (state * 1664525 + 1013904223) % (1 << 32)
        block.append(state >> 24)
    return bytes(block * (count // PATTERN_BYTES + 1))[:count]


def pieces(data):
    """The pattern as vsock_peer cuts it."""
    at = 0
    for length in itertools.cycle(PIECES):
        if at >= len(data):
            return
        yield data[at:at + length]
        at += length


def receive(sock):
    """All pieces up to the end."""
    got = []
    while piece := sock.recv(1 << 20):
        got.append(piece)
    return got


class VsockHost:
    """`guest` is a DaemonGuest that was given a `uds`."""

    def __init__(self, guest):
        self.guest, self.path = guest, guest.uds

    @contextlib.contextmanager
    def listener(self, port, kind=socket.SOCK_STREAM):
        """Where the guest's connections to our port come."""
        path = f"{self.path}_{port}"
        with socket.socket(socket.AF_UNIX, kind) as sock:
            sock.settimeout(STEP_SECONDS)
            sock.bind(path)
            sock.listen(8)
            yield sock
        os.unlink(path)

    def connect(self, port):
        """A connection to the guest's port by the daemon's call; None if it was refused."""
        endpoint = self.guest.guest.vsock()
        try:
            sock = endpoint.connect(port)[1]
        except wire.CallError as error:
            expect_equal(f"the error of a connection to {port}", error.name, "CONNECTION_REFUSED")
            return None
        finally:
            endpoint.release()
        sock.settimeout(STEP_SECONDS)
        return sock

    def dial(self, port):
        """The same by the Unix socket."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(STEP_SECONDS)
        sock.connect(self.path)
        sock.sendall(f"CONNECT {port}\n".encode())
        answer = b""
        while not answer.endswith(b"\n"):
            byte = sock.recv(1)
            if not byte:
                sock.close()
                return None
            answer += byte
        if not re.fullmatch(rb"OK \d+\n", answer):
            raise Failure(f"the bridge answers {answer}")
        return sock

    def check_received(self, output, sent, count=None):
        """vsock_peer's line about what it received, which has to be what was sent."""
        found = re.search(r"received (\d+) bytes in (\d+) pieces crc ([0-9a-f]{8})\n", output)
        if not found:
            raise Failure(f"vsock_peer says: {output}")
        expect_equal("what the guest received", (int(found[1]), found[3]),
                     (len(sent), f"{zlib.crc32(sent):08x}"))
        if count:
            expect_equal("the messages that the guest received", int(found[2]), count)

    def guest_connects(self, size, port=5001):
        """The guest sends and half-closes; what comes after that goes to it."""
        data = pattern(size)
        with self.listener(port) as listener:
            self.guest.begin(f"vsock_peer connect {HOST} {port} {size}")
            sock = listener.accept()[0]
            with sock:
                sock.settimeout(STEP_SECONDS)
                if b"".join(receive(sock)) != data:
                    raise Failure("what the guest sent has changed on its way")
                sock.sendall(data)
        self.check_received(self.guest.finish(), data)

    def guest_listens(self, size, way, port=6001):
        """We connect, send and half-close; what comes after that comes from the guest."""
        data = pattern(size)
        self.guest.begin(f"vsock_peer listen {port} {size}")
        self.guest.console.expect(r"listening\r?\n")
        with way(port) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            if b"".join(receive(sock)) != data:
                raise Failure("what the guest sent has changed on its way")
        self.check_received(self.guest.finish(), data)

    def messages(self, size, port=5002):
        """SEQPACKET: the boundaries of messages are kept, both ways."""
        data = pattern(size)
        wanted = list(pieces(data))
        with self.listener(port, socket.SOCK_SEQPACKET) as listener:
            self.guest.begin(f"vsock_peer -q connect {HOST} {port} {size}")
            sock = listener.accept()[0]
            with sock:
                sock.settimeout(STEP_SECONDS)
                got = receive(sock)
                expect_equal("the messages' lengths", list(map(len, got)), list(map(len, wanted)))
                if got != wanted:
                    raise Failure("messages of the guest have changed on their way")
                for piece in wanted:
                    sock.sendall(piece)
        self.check_received(self.guest.finish(), data, len(wanted))

    def refusals(self):
        """Ports where nobody listens, on both sides; a context identifier that nobody has."""
        for cid, port in (HOST, 5999), (NOBODY, 5001):
            said = self.guest.obey(f"vsock_peer connect {cid} {port} 1", status=1)
            expect_equal(f"connecting to {cid}:{port}", said, "connect: ECONNRESET\n")
        for way in self.connect, self.dial:
            if way(6999):
                raise Failure("the guest's port 6999 takes connections")

    def rebind(self, port=5003):
        """Without its driver the device loses its connections, on both sides; it then serves anew."""
        driver = "/sys/bus/virtio/drivers/vmw_vsock_virtio_transport"
        with self.listener(port) as listener:
            self.guest.obey(f"vsock_peer hold {HOST} {port} >/tmp/held & holder=$!")
            sock = listener.accept()[0]
            with sock:
                sock.settimeout(STEP_SECONDS)
                self.guest.obey("wait_until 60 grep -q connected /tmp/held")
                self.guest.obey(f"cd {driver} && device=$(echo virtio*) && echo $device >unbind")
                expect_equal("what comes from a device without a driver", sock.recv(1), b"")
        said = self.guest.obey("wait $holder; cat /tmp/held")
        expect_equal("the end of the guest's connection", said, "connected\nrecv: ECONNRESET\n")
        self.guest.obey("echo $device >bind && cd /")
        self.guest_connects(100000)
        self.guest_listens(100000, self.dial)
