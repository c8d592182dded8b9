#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bytes through vsock: the services of the embedded guest (ports 7, 9, 19) by way of vsock_uds_path,
and its commands to sockets of ours."""
import os
import random
import re
import resource
import selectors
import socket
import struct
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import vsock_peer  # noqa: E402

ECHO, DISCARD, SOURCE = 7, 9, 19
MANY_BYTES = 16 << 20
BLOCK = 1 << 18
MANY = 1000
CONNECTIONS = 10000
QUIET_SECONDS, QUIET_TICKS = 0.5, 2  # of 50, had a vCPU or a reactor gone on polling
GROWTH_KIB = 2048  # of the daemon, after all of these connections


def splitmix64(state):
    mask = (1 << 64) - 1
    state = (state + 0x9e3779b97f4a7c15) & mask
    state = ((state ^ state >> 30) * 0xbf58476d1ce4e5b9) & mask
    state = ((state ^ state >> 27) * 0x94d049bb133111eb) & mask
    return state ^ state >> 31


def source_pattern(size):
    """What port 19 sends: word w is splitmix64(w), again after 64 KiB (tests/guest/pattern.h)."""
    period = struct.pack("<8192Q", *map(splitmix64, range(8192)))
    return (period * (size // len(period) + 1))[:size]


class Exchange:
    """A socket that sends all of `data` and then ends, while it receives until the other end does."""

    def __init__(self, sock, data):
        self.sock, self.data, self.sent, self.got = sock, memoryview(data), 0, bytearray()
        sock.setblocking(False)

    def events(self):
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self.sent < len(self.data) else 0)

    def turn(self, events):
        """False after the other end's last byte."""
        if events & selectors.EVENT_WRITE:
            self.sent += self.sock.send(self.data[self.sent:self.sent + BLOCK])
            if self.sent == len(self.data):
                self.sock.shutdown(socket.SHUT_WR)
        if events & selectors.EVENT_READ:
            more = self.sock.recv(BLOCK)
            self.got += more
            return bool(more)
        return True


def exchange_all(exchanges):
    with selectors.DefaultSelector() as selector:
        for e in exchanges:
            selector.register(e.sock, e.events(), e)
        while selector.get_map():
            ready = selector.select(daemon.PATIENCE)
            if not ready:
                raise AssertionError("nothing came")
            for key, events in ready:
                if key.data.turn(events):
                    selector.modify(key.fileobj, key.data.events(), key.data)
                else:
                    selector.unregister(key.fileobj)


class VsockData(daemon.Case):
    MEMORY = 64 << 20

    def setUp(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="rv")
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "v")
        _, _, guest = self.running(virtio_vsock=1, vsock_uds_path=self.path,
                                   guest_memory=self.MEMORY)
        self.serial = self.shell(guest)

    def dial(self, port):
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.settimeout(daemon.PATIENCE)
        sock.connect(self.path)
        sock.sendall(b"CONNECT %d\n" % port)
        answer = b""
        while not answer.endswith(b"\n"):
            more = sock.recv(1)
            if not more:
                raise ConnectionRefusedError(port)
            answer += more
        self.assertRegex(answer, rb"^OK \d+\n$")
        return sock

    def listener(self, port, serve):
        """Serves what the guest connects to our port, each in a thread."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{self.path}_{port}")
        listener.listen(128)

        def accept():
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                sock.settimeout(daemon.PATIENCE)
                threading.Thread(target=serve, args=(sock,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(listener.close)
        self.addCleanup(listener.shutdown, socket.SHUT_RDWR)

    def command(self, line):
        """One that succeeds; what it says."""
        said = self.serial.command(line).decode()
        self.assertRegex(said, r"VERDICT \w+ ok")
        return said

    def stat(self):
        return {name: int(value) for name, value in
                re.findall(r"(\w+)=(\d+)", self.command("vsock stat"))}

    def tearDown(self):
        stat = self.stat()
        # Whatever happened: nothing of the device's broke the rules.
        self.assertEqual((stat["bad"], stat["over_credit"]), (0, 0), stat)
        super().tearDown()

    def test_echo_brings_back_every_byte(self):
        e = Exchange(self.dial(ECHO), random.Random(1).randbytes(MANY_BYTES))
        exchange_all([e])
        self.assertEqual(e.got, e.data)

    def test_large_buffers_and_packed_rings(self):
        for options in ("buf=65536", "buf=100 packed", "buf=4096 indirect noevent", "split poll"):
            self.command(f"vsock start {options}")
            e = Exchange(self.dial(ECHO), random.Random(2).randbytes(MANY_BYTES // 8))
            exchange_all([e])
            self.assertEqual(e.got, e.data, options)
        self.command("vsock start irq")

    def test_discard_takes_everything_and_then_ends(self):
        e = Exchange(self.dial(DISCARD), bytes(MANY_BYTES))
        exchange_all([e])
        self.assertEqual(e.got, b"")

    def test_source_sends_its_pattern_after_our_end_too(self):
        sock = self.dial(SOURCE)
        sock.shutdown(socket.SHUT_WR)
        got = bytearray()
        while len(got) < MANY_BYTES:
            more = sock.recv(BLOCK)
            self.assertTrue(more)
            got += more
        self.assertTrue(got == source_pattern(len(got)))

    def test_a_reader_that_stops_stops_nobody_else(self):
        slow = [self.dial(SOURCE) for _ in range(8)]
        e = Exchange(self.dial(ECHO), random.Random(3).randbytes(MANY_BYTES // 4))
        exchange_all([e])
        self.assertEqual(e.got, e.data)
        for sock in slow:
            self.assertEqual(daemon.receive(sock, 4), source_pattern(4))

    def test_a_thousand_at_once(self):
        rng = random.Random(4)
        exchanges = [Exchange(self.dial(ECHO), rng.randbytes(rng.randrange(1, 40000)))
                     for _ in range(MANY)]
        self.assertEqual(self.stat()["connections"], MANY)
        exchange_all(exchanges)
        self.assertTrue(all(e.got == e.data for e in exchanges))
        for e in exchanges:
            e.sock.close()
        self.until(lambda: self.stat()["connections"] == 0)

    def test_an_idle_guest_costs_no_time(self):
        """It polls for some microseconds after the last packet, then it sleeps."""
        sock = self.dial(ECHO)
        sock.sendall(b"hello")
        self.assertEqual(daemon.receive(sock, 5), b"hello")

        def quiet():
            before = self.daemon.cpu_ticks()
            time.sleep(QUIET_SECONDS)  # what is measured
            return self.daemon.cpu_ticks() - before <= QUIET_TICKS

        self.until(quiet)
        sock.sendall(b"again")
        self.assertEqual(daemon.receive(sock, 5), b"again")

    def test_nobody_listens(self):
        with self.assertRaises(ConnectionRefusedError):
            self.dial(1234)
        self.assertEqual(self.stat()["refused"], 1)

    def test_closed_in_the_middle(self):
        for port in (ECHO, DISCARD, SOURCE):
            sock = self.dial(port)
            sock.sendall(bytes(1000))
            sock.close()
        self.until(lambda: self.stat()["connections"] == 0)

    def test_the_guest_listens(self):
        self.serial.send("vsock listen 77 an answer")
        self.serial.expect(b"vsock listening port=77")
        e = Exchange(self.dial(77), b"from the host")
        exchange_all([e])
        self.assertEqual(e.got, b"an answer")
        self.serial.expect(b"vsock listen port=77 sent=9 received=13 text=from the host\r\n")
        self.serial.expect(b"VERDICT vsock ok")
        self.serial.expect(daemon.PROMPT)

    def test_the_guest_connects_and_ends_first(self):
        def serve(sock):
            asked = b""
            while more := sock.recv(100):
                asked += more
            sock.sendall(b"you said " + asked)  # after the end of what it sends
            sock.close()

        self.listener(5000, serve)
        said = self.command("vsock connect 5000 one two")
        self.assertIn("sent=7 received=16 text=you said one two", said)

    def test_the_guest_is_refused(self):
        said = self.serial.command("vsock connect 5001 hello").decode()
        self.assertIn("VERDICT vsock failed: port 5001: connection refused", said)

    def test_the_guest_measures(self):
        def echo(sock):
            while more := sock.recv(BLOCK):
                sock.sendall(more)
            sock.close()

        self.listener(5000, echo)
        for size in (1, 4096, 65536):
            said = self.command(f"vsock ping 5000 {size} 50")
            self.assertRegex(said, rf"vsock ping port=5000 n=50 size={size} min_ns=\d+ p50_ns=\d+ ")
        self.assertIn("count=300 parallel=8", self.command("vsock storm 5000 300 8"))

    def test_ten_thousand_connections_leave_nothing(self):
        peer = vsock_peer.Peer(f"{self.path}_5000")
        peer.start()
        self.addCleanup(peer.close)
        self.command("vsock storm 5000 200 16 100")
        files, mappings = len(self.daemon.fds()), self.daemon.mappings()
        resident = self.daemon.status("RssAnon")
        said = self.command(f"vsock storm 5000 {CONNECTIONS} 16 100")
        self.assertIn(f"count={CONNECTIONS} parallel=16 bytes=100", said)
        self.until(lambda: len(self.daemon.fds()) <= files)
        if not daemon.sanitized():
            self.assertLessEqual(self.daemon.mappings(), mappings + 8)
            self.assertLess(self.daemon.status("RssAnon"), resident + GROWTH_KIB)

    def test_the_guest_sends(self):
        got, lock = [], threading.Lock()

        def sink(sock):
            data = bytearray()
            while more := sock.recv(BLOCK):
                data += more
            with lock:
                got.append(bytes(data))
            sock.close()

        self.listener(6000, sink)
        for streams, size in (1, 65536), (16, 4096), (64, 1000):
            each = MANY_BYTES // 4 // streams
            got.clear()
            said = self.command(f"vsock send 6000 {each} {size} {streams}")
            self.assertRegex(said, rf"streams={streams} bytes={each * streams} size={size} us=\d+")
            self.assertEqual(len(got), streams)
            self.assertTrue(all(data == source_pattern(each) for data in got))

    def test_a_reset_of_the_driver_ends_connections_and_serves_again(self):
        before = [self.dial(port) for port in (ECHO, DISCARD, SOURCE)]
        self.command("vsock reset")
        for sock in before:
            with self.subTest(), self.assertRaises((ConnectionError, EOFError)):
                while True:
                    if not sock.recv(BLOCK):
                        raise EOFError
        self.assertEqual(self.stat()["connections"], 0)
        e = Exchange(self.dial(ECHO), b"again")
        exchange_all([e])
        self.assertEqual(e.got, b"again")


if __name__ == "__main__":
    daemon.require_kvm()
    unittest.main(verbosity=2)
