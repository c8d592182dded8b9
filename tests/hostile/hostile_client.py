#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that break the wire protocol: each is told and closed; nobody else notices."""
import array
import contextlib
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

NOT_SUPPORTED, NO_RESOURCES, INVALID_ARGS, NOT_FOUND = 2, 3, 4, 10
HALF = 1 << 19


def header(size=16, txid=1, obj=0, method=wire.INFO, flags=0, nfds=0):
    return wire.HEADER.pack(size, txid, obj, method, flags, nfds)


def open_call(name="web", obj=1, txid=1):
    return wire.Message(0, wire.OPEN_LIFECYCLE,
                        wire.Writer().u32(obj).u32(0).string(name).data, txid)


class Hostile(daemon.Case):
    """A guest of another client runs through each test, and still answers at its end."""

    def setUp(self):
        super().setUp()
        self.witness = self.client.launch("witness", wire.builtin())
        self.shell_of_witness = self.shell(self.witness)
        self.fds = self.fds_at_rest()

    def tearDown(self):
        self.assertIn(b"VERDICT echo ok", self.shell_of_witness.command("echo alive"))
        self.alone()
        self.until(lambda: self.daemon.fds() == self.fds)
        super().tearDown()

    def alone(self):
        """Waits until what other connections left is gone."""
        self.until(lambda: [g["name"] for g in self.client.list()] == ["witness"])

    def violation(self, data, code=INVALID_ARGS, txid=None, fds=(), before=()):
        """Sends it on a connection of its own and expects the end of that."""
        client = wire.Client(self.daemon.path, daemon.PATIENCE)
        try:
            for message in before:
                client.channel.send(message)
            with contextlib.suppress(wire.Disconnected):  # it need not take all to see the fault
                client.send_raw(data, fds)
            got = client.expect_violation()
        finally:
            client.close()
        self.assertEqual(got.code, code, got.detail)
        self.assertGreater(len(got.detail), 10)
        if txid is not None:
            self.assertEqual(got.txid, txid, got.detail)
        return got.detail


class Frames(Hostile):
    def test_sizes(self):
        for size in 0, 1, 8, 15, 17, 18, 20, 65537, 65544, 1 << 20, 0xffffffff:
            self.assertIn(str(size), self.violation(header(size=size), txid=1))

    def test_sizes_that_are_legal_but_not_this_calls(self):
        for size in 24, 32, 4096, 65536:
            self.violation(header(size=size) + bytes(range(1, 251)) * 263, txid=1)

    def test_flags(self):
        replies = wire.REPLY, wire.REPLY | wire.ERROR  # to a call that the server never makes
        for flags in range(1, 256):
            self.violation(header(flags=flags),
                           NOT_SUPPORTED if flags in replies else INVALID_ARGS)

    def test_events_have_no_txid(self):
        self.violation(header(flags=wire.EVENT, txid=0), NOT_SUPPORTED)
        self.violation(header(flags=wire.EVENT, txid=1), INVALID_ARGS)

    def test_methods(self):
        known = {wire.INFO, wire.LIST, wire.OPEN_LIFECYCLE, wire.LAUNCH, wire.FORCE_SHUTDOWN,
                 wire.CONNECT, wire.GET_INFO, wire.METRICS}
        for method in [*range(0, 12), 0x00ff, 0x8000, wire.VIOLATION, wire.ACCEPT]:
            if method not in known:
                self.violation(header(method=method), NOT_SUPPORTED, 1)
        for method in wire.CREATE, wire.GET_SERIAL, wire.LISTEN, wire.GET_MEM_SIZE, wire.CLOSE:
            self.violation(header(method=method, txid=0 if method == wire.CLOSE else 1))

    def test_methods_of_another_kind_of_object(self):
        for method in wire.GET_SERIAL, wire.GET_CONSOLE, wire.GET_BALLOON_SIZE, wire.GET_MEM_SIZE:
            self.violation(header(obj=1, method=method, txid=2), INVALID_ARGS, 2,
                           before=[open_call()])

    def test_objects(self):
        for obj in 1, 2, 255, 0x7fffffff, 0xffffffff:
            self.violation(header(obj=obj, method=wire.STOP), NOT_FOUND, 1)
            self.violation(header(obj=obj, method=wire.INFO))
        self.violation(header(obj=5, method=wire.CLOSE, txid=0), NOT_FOUND)

    def test_txids(self):
        self.violation(header(txid=0))
        self.violation(header(txid=0x80000001))
        self.violation(header(obj=1, method=wire.BIND, txid=9, size=24) + struct.pack("<II", 2, 0),
                       txid=9, before=[open_call()])

    def test_a_txid_that_is_pending(self):
        run = wire.Message(1, wire.RUN, txid=3)
        create = wire.Message(1, wire.CREATE, wire.builtin(), 2)
        self.violation(wire.Message(0, wire.INFO, txid=3).encode(), txid=3,
                       before=[open_call(), create, run])

    def test_truncated_at_each_byte(self):
        messages = (open_call("web-1", txid=7).encode() +
                    wire.Message(1, wire.CREATE, wire.builtin(), 8).encode())
        for length in range(len(messages)):
            with self.daemon.raw() as sock:
                sock.sendall(messages[:length])
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass

    def test_shortened_at_each_byte(self):
        """The header admits that the payload is shorter than it should be."""
        whole = open_call("web-1").encode()
        for length in range(16, len(whole), 8):
            self.violation(header(length, method=wire.OPEN_LIFECYCLE) + whole[16:length], txid=1)

    def test_bytes_behind_the_payload(self):
        data = open_call().encode()
        self.violation(struct.pack("<I", len(data) + 8) + data[4:] + bytes(8), txid=1)
        self.violation(header(24) + bytes(8), txid=1)

    def test_reserved_bytes(self):
        for at in 20, 33, 39:
            data = bytearray(open_call("abcdefgh").encode())
            data[at if at < 36 else len(data) - 1] = 1
            if at == 33:
                continue  # within the name
            self.violation(bytes(data), txid=1)

    def test_strings(self):
        for length in 0x7fffffff, 0xffffffff, 0xfffffff8, 1000:
            payload = struct.pack("<III", 1, 0, length) + b"web\0"
            self.violation(header(32, method=wire.OPEN_LIFECYCLE) + payload, txid=1)
        for text in b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\x80":
            payload = wire.Writer().u32(1).u32(0).string(text).data
            self.violation(wire.Message(0, wire.OPEN_LIFECYCLE, payload, 1).encode(), txid=1)

    def test_table_counts(self):
        table = wire.builtin()
        for size, count in ((0xffffffff, 3), (len(table), 3), (len(table) - 16, 3), (0, 3),
                            (len(table) - 8, 0xffffffff), (len(table) - 8, 4),
                            (len(table) - 8, 2)):
            bad = struct.pack("<II", size, count) + table[8:]
            self.violation(wire.Message(1, wire.CREATE, bad, 2).encode(), txid=2,
                           before=[open_call()])

    def test_vector_counts_in_a_config_are_a_bad_config(self):
        for count in 0xffffffff, 0x20000000, 1 << 16, 2:
            for ordinal in 6, 9, 10, 21:
                value = struct.pack("<II", count, 0) + bytes(8)
                config = wire.table(sorted(
                    wire.config_fields(kernel_type=wire.BUILTIN, cpus=1, guest_memory=32 << 20)
                    + [(ordinal, value)]))
                self.manager_error("BAD_CONFIG", self.client.launch, "other", config)

    def test_new_ids(self):
        self.violation(open_call(obj=0).encode(), txid=1)
        self.violation(open_call("other", txid=2).encode(), txid=2, before=[open_call()])


class Descriptors(Hostile):
    def test_more_than_announced_and_fewer(self):
        with open("/dev/zero", "rb") as zero:
            fd = zero.fileno()
            for nfds, sent in (0, 1), (1, 0), (1, 2), (4, 0), (0, 4), (4, 3):
                data = wire.Message(1, wire.CREATE, wire.builtin(), 2).encode()
                data = data[:15] + bytes([nfds]) + data[16:]
                self.violation(data, fds=[fd] * sent, before=[open_call()])

    def test_counts_over_the_limit(self):
        with open("/dev/zero", "rb") as zero:
            for nfds in 5, 255:
                self.violation(header(nfds=nfds), txid=1)
            self.violation(header(nfds=4), fds=[zero.fileno()] * 5)
            self.violation(header(nfds=4), fds=[zero.fileno()] * 200)

    def test_calls_that_take_none(self):
        with open("/dev/zero", "rb") as zero:
            self.violation(header(nfds=1), fds=[zero.fileno()], txid=1)

    def test_descriptors_on_a_later_byte(self):
        """What was received in one piece with the first byte cannot be told from it."""
        data = wire.Message(1, wire.CREATE, wire.builtin(), 2, fds=[0]).encode()
        with open("/dev/zero", "rb") as zero:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                       array.array("i", [zero.fileno()]))]
            for split in 1, 5, 15, 16, 20, len(data) - 1:
                client = wire.Client(self.daemon.path, daemon.PATIENCE)
                client.channel.send(open_call())
                client.wait(1)
                client.send_raw(data[:split])
                try:
                    client.channel.sock.sendmsg([data[split:]], rights)
                    client.wait(2)
                except (wire.Violation, BrokenPipeError):
                    pass
                client.close()

    def test_our_own_socket_sent_to_the_daemon(self):
        """A descriptor that keeps its own connection alive, were it not closed."""
        client = wire.Client(self.daemon.path, daemon.PATIENCE)
        client.send_raw(open_call().encode())
        client.send_raw(wire.Message(1, wire.CREATE, wire.builtin(cpus=0), 2, fds=[0]).encode(),
                        [client.channel.fileno()])
        client.wait(1)
        with self.assertRaises(wire.CallError):
            client.wait(2)
        client.close()

    def test_descriptors_and_then_nothing(self):
        with open("/dev/zero", "rb") as zero:
            for length in 1, 15, 16, 17, 40:
                data = wire.Message(1, wire.CREATE, wire.builtin(), 2, fds=[0] * 4).encode()
                client = wire.Client(self.daemon.path, daemon.PATIENCE)
                client.channel.send(open_call())
                client.wait(1)
                client.send_raw(data[:length], [zero.fileno()] * 4)
                client.close()


class Limits(Hostile):
    def test_65_connections(self):
        clients = [self.client] + [self.daemon.client() for _ in range(63)]
        extra = self.daemon.client()
        self.assertEqual(extra.expect_violation().code, NO_RESOURCES)
        for client in clients:
            client.info()
        clients[5].close()
        while True:
            again = self.daemon.client()
            try:
                again.info()
                break
            except (wire.Violation, wire.Disconnected):
                pass  # the end of the other one has not been seen yet
        for client in self.daemon.clients[1:]:
            client.close()

    def test_257_objects(self):
        client = wire.Client(self.daemon.path, daemon.PATIENCE)
        lifecycles = [client.open_lifecycle("web") for _ in range(256)]
        lifecycles[7].release()
        client.open_lifecycle("web")
        with self.assertRaises(wire.Violation) as caught:
            client.open_lifecycle("web")
        self.assertEqual(caught.exception.code, NO_RESOURCES)
        client.close()
        self.alone()

    def test_65_pending_calls(self):
        client = wire.Client(self.daemon.path, daemon.PATIENCE)
        first = client.open_lifecycle("web")
        first.create(wire.builtin())
        runs = [first.run()]
        self.shell(first.bind())
        for _ in range(63):
            other = client.open_lifecycle(f"web-{_}")
            other.create(wire.builtin(guest_memory=4 << 20))
            runs.append(other.run())
        for txid in runs:
            self.assertTrue(client.is_pending(txid))
        client.send(0, wire.INFO, txid=client.new_txid())
        self.assertEqual(client.expect_violation().code, NO_RESOURCES)
        client.close()
        self.alone()

    def test_one_way_messages_that_wait(self):
        client = wire.Client(self.daemon.path, daemon.PATIENCE)
        lifecycle = client.open_lifecycle("web")
        client.start(lifecycle.obj, wire.CREATE, wire.builtin())
        with self.assertRaises((wire.Violation, wire.Disconnected)):
            for obj in range(2, 400):
                payload = wire.Writer().u32(obj).u32(0).data
                client.send(lifecycle.obj, wire.BIND, payload)
            client.expect_violation()
            raise wire.Disconnected
        client.close()
        self.alone()

    def test_unread_replies(self):
        deaf = self.daemon.raw()
        self.addCleanup(deaf.close)
        data = b"".join(wire.Message(0, wire.INFO, txid=t).encode() for t in range(1, 4097))
        sent = 0
        try:
            while sent < 64 << 20:
                deaf.sendall(data)
                sent += len(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.assertLess(sent, 64 << 20)
        got = 0
        try:
            while more := deaf.recv(1 << 20):
                got += len(more)
        except ConnectionResetError:
            pass
        self.assertLess(got, 1 << 20)  # what the socket's buffer held
        self.assertLess(self.daemon.status("VmRSS"), 1 << 20)

    def test_unread_descriptors(self):
        """A reply with a descriptor is short; what counts is what it holds of the daemon."""
        deaf = self.daemon.raw()
        self.addCleanup(deaf.close)
        most = 0
        try:
            for turn in range(1, 400):
                deaf.sendall(b"".join(wire.Message(0, wire.METRICS, txid=turn * 8 + i).encode()
                                      for i in range(8)))
                for _ in range(10):  # as much time as those calls take, one after the other
                    self.client.metrics()
                most = max(most, len(self.daemon.fds()))
            self.fail(f"{turn * 8} descriptors are kept for a client that does not read")
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.assertGreater(turn, 32)  # a client may well be slow
        self.assertLess(most, len(self.fds) + 256 + 64)

    def test_work_left_behind(self):
        """Who leaves with calls under way and comes back is still counted for them."""
        keeper = self.client.open_lifecycle("shared")
        config = wire.builtin(guest_memory=4 << 20)
        calls = b"".join(
            open_call("shared", i, 2 * i).encode()
            + wire.Message(i, wire.CREATE, config, 2 * i + 1).encode()
            for i in range(1, 5))
        for _ in range(2000):
            if b"connections; close one of them" in self.come_and_go(calls):
                break
        else:
            self.fail("the work of clients that have gone piles up")
        self.client.info()  # who is there is served
        self.until(lambda: b"ringvisor" in self.come_and_go(wire.Message(0, wire.INFO, txid=1).encode()))
        keeper.release()

    def come_and_go(self, data):
        """Sends that, waits for no answer, and leaves; what came before the end."""
        got = b""
        with self.daemon.raw() as sock:
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                while more := sock.recv(65536):
                    got += more
            except (BrokenPipeError, ConnectionResetError):
                pass
        return got

    def test_a_slow_reader_gets_everything(self):
        slow = wire.Client(self.daemon.path, daemon.PATIENCE)
        count = HALF // 150
        for txid in range(1, count):
            slow.send(0, wire.INFO, txid=txid)
        for txid in range(1, count):
            self.assertEqual(slow.recv().txid, txid)
        slow.close()


class Deaths(Hostile):
    """A client that dies at any step of its work."""

    def steps(self):
        yield open_call("mortal", 1, 1).encode()
        yield wire.Message(1, wire.CREATE, wire.builtin(), 2).encode()
        yield wire.Message(1, wire.BIND, wire.Writer().u32(2).u32(0).data).encode()
        yield wire.Message(1, wire.RUN, txid=3).encode()
        yield wire.Message(2, wire.GET_SERIAL, txid=4).encode()
        yield wire.Message(0, wire.METRICS, txid=5).encode()
        yield wire.Message(1, wire.CREATE, wire.builtin(), 6).encode()
        yield wire.Message(1, wire.STOP, txid=7).encode()
        yield wire.Message(1, wire.CREATE, wire.builtin(cpus=2), 8).encode()
        yield wire.Message(1, wire.CLOSE).encode()

    def die(self, write, wait):
        steps = list(self.steps())
        for count in range(len(steps) + 1):
            sock = self.daemon.raw()
            write(sock, steps[:count])
            if wait and count:
                sock.recv(1)
            sock.close()
            self.alone()

    def test_after_each_message(self):
        self.die(lambda sock, steps: [sock.sendall(step) for step in steps], True)

    def test_after_one_write(self):
        self.die(lambda sock, steps: sock.sendall(b"".join(steps)), False)

    def test_while_the_daemon_launches(self):
        for i in range(10):
            sock = self.daemon.raw()
            payload = wire.Writer().u32(1).u32(0).string(f"launched-{i}").raw(wire.builtin()).data
            sock.sendall(wire.Message(0, wire.LAUNCH, payload, 1).encode())
            sock.close()
        for i in range(10):  # they are the daemon's, client or not
            self.until(lambda: self.status(f"launched-{i}") == "RUNNING")
        for i in range(10):
            self.client.force_shutdown(f"launched-{i}")
            self.forget(f"launched-{i}")

    def forget(self, name):
        """Takes the record of a launched guest away: a lifecycle's guest leaves none."""
        lifecycle = self.client.open_lifecycle(name)
        lifecycle.create(wire.builtin(guest_memory=4 << 20))
        lifecycle.release()
        self.until(lambda: all(g["name"] != name for g in self.client.list()))

    def test_many_at_once(self):
        socks = [self.daemon.raw() for _ in range(50)]
        for i, sock in enumerate(socks):
            sock.sendall(b"".join(list(self.steps())[:i % 10]))
        for sock in socks:
            sock.close()
        self.alone()


if __name__ == "__main__":
    daemon.main()
