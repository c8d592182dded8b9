#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that accept a guest's vsock connections badly, or die over it: the guest is refused, the
client is told if it broke the protocol, and nobody else notices."""
import os
import signal
import socket
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

INVALID_ARGS = 4
ECHO = 7
PORT = 1024


class Hostile(daemon.Case):
    """One guest that asks for connections; another client, and a guest of it, that must not notice."""

    def setUp(self):
        super().setUp()
        self.guest = self.client.launch("web", wire.builtin(virtio_vsock=1))
        self.serial = self.shell(self.guest)
        self.witness = self.client.launch("witness", wire.builtin(virtio_vsock=1))
        self.shell_of_witness = self.shell(self.witness)
        self.vsock_of_witness = self.witness.vsock()
        self.echo()
        self.quiet()
        self.fds = self.fds_at_rest()

    def quiet(self):
        """Until no connection is left: the daemon closes its end a little after ours."""
        for name in "web", "witness":
            sample = f'vsock_connections{{guest="{name}"}} 0\n'
            self.until(lambda wanted=sample: wanted in self.client.metrics())

    def tearDown(self):
        self.echo()
        self.quiet()
        self.assertIn(b"VERDICT echo ok", self.shell_of_witness.command("echo alive"))
        self.until(lambda: self.daemon.fds() == self.fds)
        self.until(lambda: 'vsock_listeners{guest="web"} 0\n' in self.client.metrics())
        super().tearDown()

    def connect_witness(self):
        """On a machine that is busy with other things the guest may need more than 5 s."""
        deadline = time.monotonic() + daemon.PATIENCE
        while True:
            try:
                return self.vsock_of_witness.connect(ECHO)[1]
            except wire.CallError as error:
                if error.name != "TIMED_OUT" or time.monotonic() > deadline:
                    raise

    def echo(self):
        with self.connect_witness() as sock:
            sock.sendall(b"still here")
            self.assertEqual(daemon.receive(sock, 10), b"still here")

    def listener(self):
        """Another client's endpoint, which listens."""
        client = wire.Client(self.daemon.path, daemon.PATIENCE)
        self.addCleanup(client.close)
        vsock = client.connect("web").vsock()
        vsock.acceptor = vsock.listen(PORT)
        return vsock

    def asked(self, vsock):
        self.serial.send(f"vsock connect {PORT} hello")
        return vsock.next_accept()[0]

    def refused(self, *_, **__):  # pylint: disable=arguments-differ
        self.assertIn(b"connection refused", self.serial.expect(daemon.PROMPT))

    def answer(self, vsock, message, fds=(), flags=wire.REPLY, **change):
        vsock.client.send(change.get("obj", message.obj), wire.ACCEPT, change.get("payload", b""),
                          fds, change.get("txid", message.txid), flags)

    def violation(self, vsock):
        error = vsock.client.expect_violation()
        self.assertEqual(error.code, INVALID_ARGS, error.detail)
        vsock.client.close()
        return error.detail


class Answers(Hostile):
    def test_no_descriptor(self):
        vsock = self.listener()
        self.answer(vsock, self.asked(vsock))
        self.assertIn("nfds is 0", self.violation(vsock))
        self.refused()

    def test_two_descriptors(self):
        vsock = self.listener()
        message = self.asked(vsock)
        with socket.socket() as one, socket.socket() as two:
            self.answer(vsock, message, [one.fileno(), two.fileno()])
        self.assertIn("nfds is 2", self.violation(vsock))
        self.refused()

    def test_a_descriptor_with_an_error(self):
        vsock = self.listener()
        message = self.asked(vsock)
        payload = wire.Writer().u32(wire.STATUS).u32(6).string("no").data
        with socket.socket() as sock:
            self.answer(vsock, message, [sock.fileno()], wire.REPLY | wire.ERROR, payload=payload)
        self.violation(vsock)
        self.refused()

    def test_a_wrong_txid(self):
        for change in 1, 0x1000, 0x7fffffff:
            vsock = self.listener()
            message = self.asked(vsock)
            with socket.socket(socket.AF_UNIX) as sock:
                self.answer(vsock, message, [sock.fileno()],
                            txid=wire.SERVER_TXID | ((message.txid + change) & 0x7fffffff))
            self.assertIn("no call is pending", self.violation(vsock))
            self.refused()

    def test_a_txid_of_the_clients(self):
        vsock = self.listener()
        message = self.asked(vsock)
        self.answer(vsock, message, flags=wire.REPLY | wire.ERROR, txid=message.txid & 0x7fffffff,
                    payload=wire.Writer().u32(2).u32(6).string("no").data)
        self.assertIn("bit 31", self.violation(vsock))
        self.refused()

    def test_the_answer_of_another_acceptor(self):
        vsock = self.listener()
        other = vsock.listen(PORT + 1)
        message = self.asked(vsock)
        with socket.socket(socket.AF_UNIX) as sock:
            self.answer(vsock, message, [sock.fileno()], obj=other)
        self.assertIn("no call is pending", self.violation(vsock))
        self.refused()

    def test_twice(self):
        vsock = self.listener()
        message = self.asked(vsock)
        sock = vsock.accept(message)
        vsock.accept(message).close()
        self.assertIn("no call is pending", self.violation(vsock))
        with sock:  # the first answer stands
            sock.settimeout(daemon.PATIENCE)
            self.assertEqual(sock.recv(100), b"hello")
            sock.sendall(b"fine")
        self.assertIn(b"text=fine", self.serial.expect(daemon.PROMPT))

    def test_refused_and_then_answered(self):
        vsock = self.listener()
        message = self.asked(vsock)
        vsock.refuse(message)
        vsock.accept(message).close()
        self.violation(vsock)
        self.refused()

    def test_errors_of_any_kind(self):
        vsock = self.listener()
        for domain, code, detail in ((0, 0, ""), (2, 0, "OK is no error"), (99, 0xffffffff, "x" * 60000)):
            message = self.asked(vsock)
            self.answer(vsock, message, flags=wire.REPLY | wire.ERROR,
                        payload=wire.Writer().u32(domain).u32(code).string(detail).data)
            self.refused()
        vsock.client.close()

    def test_a_payload_that_is_none(self):
        vsock = self.listener()
        message = self.asked(vsock)
        self.answer(vsock, message, flags=wire.REPLY | wire.ERROR, payload=b"1234567")
        self.violation(vsock)
        self.refused()

    def test_descriptors_that_are_no_stream_sockets(self):
        """Refused to the guest; the client has only wasted its time."""
        vsock = self.listener()
        for make in (self.pipe, self.directory, self.datagram, self.memory, self.event, self.epoll):
            with self.subTest(make.__name__):
                fd = make()
                message = self.asked(vsock)
                self.answer(vsock, message, [fd])
                self.refused()
                os.close(fd)
        vsock.client.close()

    def test_stream_sockets_that_lead_nowhere(self):
        """Nothing would ever tell of their end: refused."""
        vsock = self.listener()
        listening = socket.socket(socket.AF_UNIX)
        listening.bind("")
        listening.listen()
        for sock in socket.socket(), socket.socket(socket.AF_UNIX), listening:
            message = self.asked(vsock)
            with sock:
                self.answer(vsock, message, [sock.fileno()])
                self.refused()
        vsock.client.close()

    def test_a_socket_that_has_ended(self):
        """The guest is connected, and finds out."""
        vsock = self.listener()
        message = self.asked(vsock)
        ours, theirs = socket.socketpair()
        with theirs:
            ours.close()
            self.answer(vsock, message, [theirs.fileno()])
        self.serial.expect(daemon.PROMPT)
        vsock.client.close()

    def pipe(self):
        read, write = os.pipe()
        os.close(write)
        return read

    def directory(self):
        return os.open(tempfile.gettempdir(), os.O_RDONLY)

    def datagram(self):
        return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).detach()

    def memory(self):
        return os.memfd_create("x")

    def event(self):
        return os.eventfd(0)

    def epoll(self):
        import select
        epoll = select.epoll()
        fd = os.dup(epoll.fileno())
        epoll.close()
        return fd


class Deaths(Hostile):
    """A client that is gone at each step."""

    def test_before_the_question(self):
        self.listener().client.close()
        self.until(lambda: 'vsock_listeners{guest="web"} 0\n' in self.client.metrics())
        self.assertIn(b"connection refused", self.serial.command(f"vsock connect {PORT} hello"))

    def test_with_the_question_unread(self):
        vsock = self.listener()
        self.serial.send(f"vsock connect {PORT} hello")
        self.until(lambda: 'vsock_connections{guest="web"} 1\n' in self.client.metrics())
        vsock.client.close()
        self.refused()

    def test_with_the_question_read(self):
        vsock = self.listener()
        self.asked(vsock)
        vsock.client.close()
        self.refused()

    def test_with_half_an_answer(self):
        vsock = self.listener()
        message = self.asked(vsock)
        whole = wire.Message(message.obj, wire.ACCEPT, txid=message.txid, flags=wire.REPLY,
                             fds=[0]).encode()
        with socket.socket(socket.AF_UNIX) as sock:
            vsock.client.send_raw(whole[:9], [sock.fileno()])
        vsock.client.close()
        self.refused()

    def test_right_behind_the_answer(self):
        """The connection is made, and it is the socket that ends it."""
        vsock = self.listener()
        message = self.asked(vsock)
        sock = vsock.accept(message)
        vsock.client.close()
        with sock:
            sock.settimeout(daemon.PATIENCE)
            self.assertEqual(sock.recv(100), b"hello")
        self.serial.expect(daemon.PROMPT)

    def test_socket_and_all(self):
        vsock = self.listener()
        message = self.asked(vsock)
        vsock.accept(message).close()
        vsock.client.close()
        self.serial.expect(daemon.PROMPT)

    def test_killed_with_many_questions(self):
        """A process of its own, as a crash would end it, while the guest asks for 300 connections."""
        for _ in range(5):
            ready, child_ready = os.pipe()
            pid = os.fork()
            if not pid:
                self.accept_for_ever(child_ready)
            os.close(child_ready)
            os.read(ready, 1)
            os.close(ready)
            self.serial.send(f"vsock storm {PORT} 300 100")
            self.until(lambda: 'vsock_accepted_total{guest="web"} 0\n' not in self.client.metrics())
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            said = self.serial.expect(daemon.PROMPT)
            self.assertRegex(said, rb"VERDICT vsock (ok|failed: connection refused)")

    def accept_for_ever(self, ready):
        try:
            client = wire.Client(self.daemon.path, daemon.PATIENCE)
            vsock = client.connect("web").vsock()
            vsock.listen(PORT)
            os.write(ready, b"x")
            while True:
                vsock.accept(vsock.next_accept()[0]).close()
        finally:
            os._exit(1)


class Storms(Hostile):
    def test_connects_while_the_client_is_killed(self):
        """Each has its 64 calls out, of which many are answered; the sockets go with the process."""
        for i in range(30):
            ready, child_ready = os.pipe()
            pid = os.fork()
            if not pid:
                self.connect_for_ever(child_ready)
            os.close(child_ready)
            os.read(ready, 1)
            os.close(ready)
            if i % 3:
                self.echo()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.until(lambda: b"connections=0" in self.serial.command("vsock stat"))

    def connect_for_ever(self, ready):
        try:
            client = wire.Client(self.daemon.path, daemon.PATIENCE)
            vsock = client.connect("web").vsock()
            payload = wire.Writer().u32(ECHO).u32(0).data
            calls = [client.start(vsock.obj, wire.VSOCK_CONNECT, payload) for _ in range(60)]
            sockets, told = [], False
            while True:
                (fd,) = client.wait(calls.pop(0)).fds
                sockets.append(socket.socket(fileno=fd))
                sockets[-1].sendall(b"x" * 1000)
                if len(sockets) > 40:
                    sockets.pop(0).close()
                calls.append(client.start(vsock.obj, wire.VSOCK_CONNECT, payload))
                if not told:
                    os.write(ready, b"x")
                told = True
        finally:
            os._exit(1)

    def test_a_guest_that_asks_without_end(self):
        """Nobody answers: the places of a listener fill up, and everything after that is refused."""
        vsock = self.listener()
        self.serial.send(f"vsock storm {PORT} 1000 1000")
        self.until(lambda: 'vsock_connections{guest="web"} 1000\n' in self.client.metrics())
        self.echo()
        vsock.client.close()
        self.refused()


if __name__ == "__main__":
    daemon.main()
