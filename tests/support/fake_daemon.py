#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A scripted daemon: speaks the wire protocol, runs no guest. For tests of clients.

    with FakeDaemon(folder) as daemon:
        daemon.path                     # its socket
        daemon.guests["web-1"] = {…}    # GuestInfo fields by name, and "config": {ordinal: bytes}
        daemon.on[wire.GET_INFO] = f    # f(connection, message) answers instead
        daemon.streams["web-1"]         # our ends of the streams that clients were given
        daemon.die()                    # every connection and stream is closed at once

A guest that is launched is RUNNING at once and echoes what it is sent: a line "halt" ends it.
"""
import os
import selectors
import socket
import threading

import wire
from wire import Message, Reader, Writer

RUNNING, STOPPED = 3, 5


class Connection:
    def __init__(self, channel):
        self.channel = channel
        self.objects = {}

    def reply(self, call, payload=b"", fds=()):
        self.channel.send(Message(call.obj, call.method, payload, call.txid, wire.REPLY, fds))

    def error(self, call, domain, code, detail):
        payload = Writer().u32(domain).u32(code).string(detail).data
        self.channel.send(Message(call.obj, call.method, payload, call.txid,
                                  wire.REPLY | wire.ERROR))

    def closed(self, obj, epitaph):
        self.channel.send(Message(obj, wire.CLOSE, Writer().i32(epitaph).u32(0).data,
                                  flags=wire.EVENT))


def info_payload(guest):
    writers = {"guest_status": "u32", "uptime_ns": "u64", "num_cpus": "u8", "guest_memory": "u64",
               "stop_error": "u32", "resident_bytes": "u64", "exits": "u64", "kicks": "u64",
               "irqs": "u64"}
    fields = []
    for ordinal, (name, _) in wire.INFO_FIELDS.items():
        if name not in guest:
            continue
        if name in writers:
            value = getattr(Writer(), writers[name])(guest[name]).data
        else:
            value = Writer().vector(guest[name], lambda w, text: w.string(text)).data
        fields.append((ordinal, bytes(value)))
    return wire.table(fields)


class FakeDaemon:
    def __init__(self, folder):
        self.path = os.path.join(folder, "fake.sock")
        self.guests, self.streams, self.on, self.calls = {}, {}, {}, []
        self.greeting = b"fake guest\r\n"
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen()
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        self.wake_in, self.wake_out = os.pipe()
        self.selector.register(self.wake_in, selectors.EVENT_READ, None)
        self.connections, self.running = [], True
        self.thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.die()

    def die(self):
        """As a killed daemon: everything it holds is closed."""
        if not self.running:
            return
        os.write(self.wake_out, b"x")
        self.running = False  # from here on the descriptors are the thread's to close
        if threading.current_thread() is not self.thread:
            self.thread.join()

    def _loop(self):
        while self.running:
            for key, _ in self.selector.select():
                if key.data:
                    key.data(key.fileobj)
        for connection in self.connections:
            connection.channel.close()
        for streams in self.streams.values():
            for stream in streams:
                stream.close()
        self.listener.close()
        self.selector.close()
        for fd in (self.wake_in, self.wake_out):
            os.close(fd)

    def _accept(self, listener):
        sock, _ = listener.accept()
        connection = Connection(wire.Channel(sock))
        self.connections.append(connection)
        self.selector.register(sock, selectors.EVENT_READ, lambda _: self._serve(connection))

    def _drop(self, connection):
        self.selector.unregister(connection.channel.sock)
        self.connections.remove(connection)
        connection.channel.close()

    def _serve(self, connection):
        try:
            message = connection.channel.recv(timeout=0)
        except TimeoutError:
            return
        except (wire.Disconnected, wire.WireError):
            self._drop(connection)
            return
        self.calls.append(message)
        handler = self.on.get(message.method) or self.HANDLERS.get(message.method)
        try:
            if handler is None:
                connection.error(message, wire.STATUS, 2, "the fake daemon has no such call")
            elif message.method in self.on:
                handler(connection, message)
            else:
                handler(self, connection, message)
        except (wire.Disconnected, OSError):
            self._drop(connection)
            return
        if connection.channel.buffer:
            self._serve(connection)

    # -- calls

    def _info(self, connection, call):
        started = sum(1 for guest in self.guests.values() if guest["guest_status"] == RUNNING)
        connection.reply(call, Writer().u32(1).u32(2).u32(started).u32(0)
                         .string("fake 0.1").string("fake kvm").data)

    def _list(self, connection, call):
        connection.reply(call, Writer().vector(
            sorted(self.guests.items()),
            lambda w, item: w.string(item[0]).u32(item[1]["guest_status"])
            .u32(item[1].get("num_cpus", 0)).u64(item[1].get("guest_memory", 0))
            .u64(item[1].get("uptime_ns", 0))).data)

    def _launch(self, connection, call):
        reader = call.reader()
        obj = reader.u32()
        reader.zeros(4)
        name = reader.string()
        config = dict(wire.read_table(reader))
        if self.guests.get(name, {}).get("guest_status") == RUNNING:
            connection.error(call, wire.MANAGER_ERROR, 2, f"guest {name} is running already")
            connection.closed(obj, 7)
            return
        self.guests[name] = {
            "guest_status": RUNNING, "uptime_ns": 1500000000, "num_cpus": config[7][0],
            "guest_memory": Reader(config[8]).u64(), "devices": ["serial"], "exits": 10,
            "kicks": 0, "irqs": 3, "resident_bytes": 1 << 20, "config": config}
        connection.objects[obj] = name
        connection.reply(call)

    def _force_shutdown(self, connection, call):
        self.end(call.reader().string())
        connection.reply(call)

    def end(self, name, error=0):
        guest = self.guests.get(name)
        if not guest or guest["guest_status"] != RUNNING:
            return
        keep = {key: guest[key] for key in ("uptime_ns", "config") if key in guest}
        self.guests[name] = {"guest_status": STOPPED, **keep}
        if error:
            self.guests[name]["stop_error"] = error
        for stream in self.streams.pop(name, []):
            self._forget(stream)

    def _forget(self, stream):
        try:
            self.selector.unregister(stream)
        except KeyError:
            pass
        stream.close()

    def _connect(self, connection, call):
        reader = call.reader()
        obj = reader.u32()
        reader.zeros(4)
        name = reader.string()
        if self.guests.get(name, {}).get("guest_status") != RUNNING:
            connection.error(call, wire.MANAGER_ERROR, 3, f"guest {name} is not running")
            connection.closed(obj, 7)
            return
        connection.objects[obj] = name
        connection.reply(call)

    def _get_info(self, connection, call):
        name = call.reader().string()
        connection.reply(call, info_payload(self.guests.get(name, {"guest_status": 1})))

    def _metrics(self, connection, call):
        fd = os.memfd_create("metrics")
        os.write(fd, b"# TYPE ringvisor_guests gauge\nringvisor_guests 1\n# EOF\n")
        connection.reply(call, fds=[fd])
        os.close(fd)

    def _stream(self, connection, call):
        name = connection.objects[call.obj]
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.streams.setdefault(name, []).append(ours)
        self.selector.register(ours, selectors.EVENT_READ, lambda s: self._echo(name, s))
        ours.send(self.greeting)
        connection.reply(call, fds=[theirs.fileno()])
        theirs.close()

    def _console(self, connection, call):
        name = connection.objects[call.obj]
        if self.guests[name]["config"].get(15) != b"\x01":
            connection.error(call, wire.GUEST_ERROR, 2, f"guest {name} has no console")
            return
        self._stream(connection, call)

    def _echo(self, name, stream):
        try:
            data = stream.recv(65536)
        except (BlockingIOError, ConnectionResetError):
            data = b""
        if not data:
            if stream in self.streams.get(name, []):
                self.streams[name].remove(stream)
            self._forget(stream)
            return
        stream.send(b"<" + data + b">")
        if b"halt" in data:
            self.end(name)

    HANDLERS = {
        wire.INFO: _info, wire.LIST: _list, wire.LAUNCH: _launch,
        wire.FORCE_SHUTDOWN: _force_shutdown, wire.CONNECT: _connect, wire.GET_INFO: _get_info,
        wire.METRICS: _metrics, wire.GET_SERIAL: _stream, wire.GET_CONSOLE: _console,
        wire.CLOSE: lambda self, connection, call: connection.objects.pop(call.obj, None),
    }


def main():
    import tempfile
    with tempfile.TemporaryDirectory() as folder, FakeDaemon(folder) as daemon:
        print(daemon.path, flush=True)
        daemon.thread.join()


if __name__ == "__main__":
    main()
