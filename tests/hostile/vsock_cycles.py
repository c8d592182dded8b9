#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""10,000 vsock connections opened, used and closed: no descriptor and no memory is left behind; 1,000 at
once with data both ways. Another guest answers all the while."""
import collections
import os
import random
import resource
import selectors
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

ECHO = 7
CONNECTIONS, WARM_UP = 10000, 1000
AT_ONCE, OUT = 1000, 32
RSS_SLACK_KIB = 1024
PIECE = 1 << 16


class Witness(threading.Thread):
    """Echoes through another guest's vsock until it is told to stop; the longest took `worst` s."""

    def __init__(self, guest):
        super().__init__(daemon=True)
        self.sock = guest.vsock().connect(ECHO)[1]
        self.sock.settimeout(daemon.PATIENCE)
        self.worst, self.count, self.over, self.failed = 0.0, 0, threading.Event(), None

    def run(self):
        try:
            while not self.over.wait(0.002):
                start = time.monotonic()
                self.sock.sendall(b"%08d" % self.count)
                if daemon.receive(self.sock, 8) != b"%08d" % self.count:
                    raise AssertionError("other bytes came back")
                self.worst = max(self.worst, time.monotonic() - start)
                self.count += 1
        except Exception as error:  # pylint: disable=broad-except
            self.failed = error

    def end(self):
        self.over.set()
        self.join()
        self.sock.close()
        if self.failed or not self.count:
            raise AssertionError(f"after {self.count} echoes: {self.failed}")


class Cycles(daemon.Case):
    def setUp(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
        super().setUp()
        guest = self.client.launch("web", wire.builtin(virtio_vsock=1, guest_memory=64 << 20))
        self.serial = self.shell(guest)
        self.vsock = guest.vsock()
        other = self.daemon.client().launch("witness", wire.builtin(virtio_vsock=1))
        self.shell(other)
        self.witness = Witness(other)
        self.witness.start()

    def tearDown(self):
        self.witness.end()
        print(f"\n  the other guest: {self.witness.count} echoes, the longest "
              f"{self.witness.worst * 1000:.1f} ms", file=sys.stderr)
        super().tearDown()

    def start(self):
        return self.vsock.client.start(self.vsock.obj, wire.VSOCK_CONNECT,
                                       wire.Writer().u32(ECHO).u32(0).data)

    def take(self, call):
        (fd,) = self.vsock.client.wait(call).fds
        sock = socket.socket(fileno=fd)
        sock.settimeout(daemon.PATIENCE)
        return sock

    def finish(self, sock, number):
        """How it ends differs: by the client, by its half-close and the echo's, by an end in the midst
        of what comes."""
        with sock:
            if number % 3 == 2:
                return
            self.assertEqual(daemon.receive(sock, 16), b"%016d" % number)
            if number % 3:
                sock.shutdown(socket.SHUT_WR)
                self.assertEqual(sock.recv(1), b"")

    def cycle(self, count):
        calls = collections.deque(self.start() for _ in range(OUT))
        used = collections.deque()
        for number in range(count):
            sock = self.take(calls.popleft())
            if number + OUT < count:
                calls.append(self.start())
            sock.sendall(b"%016d" % number)
            used.append((sock, number))
            if len(used) == OUT:
                self.finish(*used.popleft())
        while used:
            self.finish(*used.popleft())
        self.until(lambda: 'vsock_connections{guest="web"} 0\n' in self.client.metrics())

    def usage(self):
        return {"fds": self.daemon.fds(), "threads": self.daemon.threads(),
                "rss": self.daemon.status("VmRSS")}

    def test_ten_thousand(self):
        fds = self.fds_at_rest()
        self.cycle(WARM_UP)
        self.until(lambda: self.daemon.fds() == fds)
        before = self.usage()
        start = time.monotonic()
        self.cycle(CONNECTIONS)
        took = time.monotonic() - start
        after = self.usage()
        print(f"\n  {CONNECTIONS / took:.0f} connections/s, resident {before['rss']} KiB before, "
              f"{after['rss']} KiB after", file=sys.stderr)
        self.until(lambda: self.daemon.fds() == before["fds"])
        self.assertEqual(before["threads"], after["threads"])
        if not daemon.sanitized():
            self.assertLessEqual(after["rss"], before["rss"] + RSS_SLACK_KIB)
        self.assertIn(b"bad=0 over_credit=0", self.serial.command("vsock stat"))

    def test_a_thousand_at_once(self):
        fds, rng = self.fds_at_rest(), random.Random(6)
        calls = collections.deque(self.start() for _ in range(OUT))
        sockets = []
        for i in range(AT_ONCE):
            sockets.append(self.take(calls.popleft()))
            if i + OUT < AT_ONCE:
                calls.append(self.start())
        self.assertIn(f'vsock_connections{{guest="web"}} {AT_ONCE}\n', self.client.metrics())
        data = [rng.randbytes(rng.randrange(1, 60000)) for _ in sockets]
        self.exchange(sockets, data)
        for sock in sockets:
            sock.close()
        self.until(lambda: self.daemon.fds() == fds)

    def exchange(self, sockets, data):
        """Each sends its bytes and its end, and gets the same ones and an end."""
        sent, got = [0] * len(sockets), [bytearray() for _ in sockets]
        with selectors.DefaultSelector() as selector:
            for i, sock in enumerate(sockets):
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, i)
            while selector.get_map():
                ready = selector.select(daemon.PATIENCE)
                self.assertTrue(ready, "nothing came")
                for key, events in ready:
                    i, sock = key.data, key.fileobj
                    if events & selectors.EVENT_WRITE:
                        sent[i] += sock.send(data[i][sent[i]:sent[i] + PIECE])
                        if sent[i] == len(data[i]):
                            sock.shutdown(socket.SHUT_WR)
                            selector.modify(sock, selectors.EVENT_READ, i)
                    if events & selectors.EVENT_READ:
                        more = sock.recv(PIECE)
                        got[i] += more
                        if not more:
                            selector.unregister(sock)
        self.assertTrue(all(a == b for a, b in zip(got, data)))


if __name__ == "__main__":
    daemon.main()
