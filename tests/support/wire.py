#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An independent encoder, decoder and client of the wire protocol, written from its page alone.

Encoding and decoding:  Writer, Reader, Message, config_table(), info_table()
A client, for tests:    Client(path) and the objects that it opens; one thread, blocking calls with a
                        timeout. Nothing is hidden: client.send() and client.recv() take and give any
                        message, client.send_raw() any bytes.
As a program:           wire.py vectors FILE    decode each vector, encode it again, compare
                        wire.py info|list|metrics SOCKET
"""
import array
import collections
import os
import select
import socket
import struct
import sys
import time

REPLY, ERROR, EVENT = 1, 2, 4
HEADER = struct.Struct("<IIIHBB")
SIZE_MAX = 65536
FDS_MAX = 4
PATIENCE = 60  # seconds; for a slow, busy machine under a sanitizer
SERVER_TXID = 0x80000000

INFO, LIST, OPEN_LIFECYCLE, LAUNCH, FORCE_SHUTDOWN, CONNECT, GET_INFO, METRICS = range(1, 9)
CREATE, BIND, RUN, STOP = range(0x101, 0x105)
(GET_CONSOLE, GET_SERIAL, GET_HOST_VSOCK_ENDPOINT, GET_BALLOON_CONTROLLER,
 GET_MEM_CONTROLLER) = range(0x201, 0x206)
LISTEN, VSOCK_CONNECT = 0x301, 0x302
ACCEPT = 0x401
GET_BALLOON_SIZE, REQUEST_NUM_PAGES, GET_MEM_STATS = range(0x501, 0x504)
GET_MEM_SIZE, REQUEST_SIZE = 0x601, 0x602
VIOLATION, CLOSE = 0xfffe, 0xffff

GUEST_ERROR, STATUS, MANAGER_ERROR = 1, 2, 3
GUEST_ERRORS = ["OK", "INTERNAL_ERROR", "DEVICE_NOT_PRESENT", "BAD_CONFIG",
                "GUEST_INITIALIZATION_FAILURE", "DEVICE_INITIALIZATION_FAILURE",
                "DEVICE_START_FAILURE", "DEVICE_MEMORY_OVERLAP", "FAILED_SERVICE_CONNECT",
                "DUPLICATE_PUBLIC_SERVICES", "KERNEL_LOAD_FAILURE", "VCPU_START_FAILURE",
                "VCPU_RUNTIME_FAILURE", "NOT_CREATED", "ALREADY_RUNNING",
                "CONTROLLER_FORCED_HALT"]
STATUSES = ["OK", "INTERNAL", "NOT_SUPPORTED", "NO_RESOURCES", "INVALID_ARGS", "ALREADY_BOUND",
            "CONNECTION_REFUSED", "BAD_STATE", "PEER_CLOSED", "TIMED_OUT", "NOT_FOUND",
            "ACCESS_DENIED"]
MANAGER_ERRORS = ["OK", "BAD_CONFIG", "ALREADY_RUNNING", "NOT_RUNNING", "START_FAILURE",
                  "NO_STORAGE"]
GUEST_STATUSES = [None, "NOT_STARTED", "STARTING", "RUNNING", "STOPPING", "STOPPED",
                  "VMM_UNEXPECTED_TERMINATION"]
ZIRCON, LINUX, BUILTIN = 0, 1, 2


class WireError(Exception):
    """The peer broke the page's rules, or said something this side cannot read."""


class CallError(Exception):
    """An ERROR reply: .domain, .code, .name, .detail."""

    def __init__(self, domain, code, detail):
        names = {GUEST_ERROR: GUEST_ERRORS, STATUS: STATUSES, MANAGER_ERROR: MANAGER_ERRORS}
        known = names.get(domain, [])
        self.domain, self.code, self.detail = domain, code, detail
        self.name = known[code] if code < len(known) else f"{domain}/{code}"
        super().__init__(f"{self.name}: {detail}")


class Violation(Exception):
    """The Violation event: .code, .txid, .detail."""

    def __init__(self, code, txid, detail):
        self.code, self.txid, self.detail = code, txid, detail
        super().__init__(f"violation {code}: {detail}")


class Disconnected(Exception):
    """The connection is at its end."""


# ------------------------------------------------------------------------------------- encoding

class Writer:
    """Builds a payload; each method returns the writer."""

    def __init__(self):
        self.data = bytearray()

    def raw(self, data):
        self.data += data
        return self

    def _pack(self, form, value):
        return self.raw(struct.pack("<" + form, value))

    def u8(self, value):
        return self._pack("B", value)

    def u16(self, value):
        return self._pack("H", value)

    def u32(self, value):
        return self._pack("I", value)

    def u64(self, value):
        return self._pack("Q", value)

    def i32(self, value):
        return self._pack("i", value)

    def string(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        self.u32(len(data)).raw(data)
        return self.raw(bytes(-(4 + len(data)) % 8))

    def vector(self, items, write):
        """count, reserved and each item by write(writer, item)."""
        items = list(items)
        self.u32(len(items)).u32(0)
        for item in items:
            write(self, item)
        return self

    def padded(self):
        return bytes(self.data) + bytes(-len(self.data) % 8)


class Reader:
    """Takes a payload apart; anything out of order is a WireError."""

    def __init__(self, data):
        self.data, self.at = bytes(data), 0

    def raw(self, count):
        if count > len(self.data) - self.at:
            raise WireError(f"{count} bytes wanted at {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count:self.at]

    def _unpack(self, form):
        return struct.unpack("<" + form, self.raw(struct.calcsize(form)))[0]

    def u8(self):
        return self._unpack("B")

    def u16(self):
        return self._unpack("H")

    def u32(self):
        return self._unpack("I")

    def u64(self):
        return self._unpack("Q")

    def i32(self):
        return self._unpack("i")

    def zeros(self, count):
        if any(self.raw(count)):
            raise WireError(f"padding before {self.at} is not zero")

    def string(self):
        length = self.u32()
        text = self.raw(length).decode("utf-8")
        self.zeros(-(4 + length) % 8)
        return text

    def vector(self, read):
        count = self.u32()
        self.zeros(4)
        if count > len(self.data):
            raise WireError(f"a vector of {count} elements in {len(self.data)} bytes")
        return [read(self) for _ in range(count)]

    def end(self):
        """Nothing but zero padding to 8 may follow."""
        rest = len(self.data) - self.at
        if rest >= 8:
            raise WireError(f"{rest} bytes after the last field")
        self.zeros(rest)


def table(fields):
    """[(ordinal, value bytes)], in the order given, as a table."""
    body = Writer()
    for ordinal, value in fields:
        body.u16(ordinal).u16(0).u32(len(value)).raw(value).raw(bytes(-len(value) % 8))
    return Writer().u32(len(body.data)).u32(len(fields)).raw(body.data).padded()


def read_table(reader):
    """[(ordinal, value bytes)]; ordinals must ascend."""
    size, count = reader.u32(), reader.u32()
    inner = Reader(reader.raw(size))
    fields, last = [], -1
    for _ in range(count):
        ordinal = inner.u16()
        inner.zeros(2)
        length = inner.u32()
        value = inner.raw(length)
        inner.zeros(-length % 8)
        if ordinal <= last:
            raise WireError(f"ordinal {ordinal} after {last}")
        last = ordinal
        fields.append((ordinal, value))
    if inner.at != size:
        raise WireError(f"{size - inner.at} bytes after the table's {count} fields")
    return fields


class Fd(int):
    """As a file in a config: the index of one of the message's descriptors."""


def _file(writer, value):
    if isinstance(value, Fd):
        return writer.u8(1).u8(int(value)).u16(0).u32(0).string("")
    return writer.u8(0).u8(0).u16(0).u32(0).string(value)


def _block(writer, block):
    """(id, mode, format, file)"""
    writer.string(block[0]).u8(block[1]).u8(block[2]).u16(0).u32(0)
    _file(writer, block[3])


def _net(writer, net):
    """(mac, enable_bridge, tap), the mac as bytes or aa:bb:cc:dd:ee:ff"""
    mac = net[0] if isinstance(net[0], bytes) else bytes.fromhex(net[0].replace(":", ""))
    writer.raw(mac).u8(net[1]).u8(0).string(net[2])


def _plain(form):
    return lambda value: getattr(Writer(), form)(value).data


def _list(write):
    return lambda items: Writer().vector(items, write).data


CONFIG_FIELDS = {
    "kernel_type": (1, _plain("u32")),
    "kernel": (2, lambda value: _file(Writer(), value).data),
    "ramdisk": (3, lambda value: _file(Writer(), value).data),
    "dtb_overlay": (4, lambda value: _file(Writer(), value).data),
    "cmdline": (5, _plain("string")),
    "cmdline_add": (6, _list(lambda w, text: w.string(text))),
    "cpus": (7, _plain("u8")),
    "guest_memory": (8, _plain("u64")),
    "block_devices": (9, _list(_block)),
    "net_devices": (10, _list(_net)),
    "wayland": (11, _plain("u8")),
    "magma": (12, _plain("u8")),
    "default_net": (13, _plain("u8")),
    "virtio_balloon": (14, _plain("u8")),
    "virtio_console": (15, _plain("u8")),
    "gpu": (16, _plain("u8")),
    "virtio_rng": (17, _plain("u8")),
    "virtio_vsock": (18, _plain("u8")),
    "sound": (19, _plain("u8")),
    "sound_input": (20, _plain("u8")),
    "vsock_listeners": (21, _list(lambda w, pair: w.u32(pair[0]).u32(pair[1]))),
    "virtio_mem": (22, _plain("u8")),
    "virtio_mem_block_size": (23, _plain("u64")),
    "virtio_mem_region_size": (24, _plain("u64")),
    "virtio_mem_region_alignment": (25, _plain("u64")),
    "guest_cid": (100, _plain("u32")),
    "vsock_uds_path": (101, _plain("string")),
    "home_core": (102, _plain("u32")),
    "vsock_guest_to_guest": (103, _plain("u8")),
}


def config_fields(**values):
    """The fields of a GuestConfig by their names, as [(ordinal, value)], ascending."""
    fields = [(CONFIG_FIELDS[name][0], bytes(CONFIG_FIELDS[name][1](value)))
              for name, value in values.items()]
    return sorted(fields)


def config_table(**values):
    return table(config_fields(**values))


def builtin(**more):
    """The least config: the embedded guest with one CPU and 32 MiB, and what else is given."""
    values = {"kernel_type": BUILTIN, "cpus": 1, "guest_memory": 32 << 20}
    values.update(more)
    return config_table(**values)


INFO_FIELDS = {
    1: ("guest_status", Reader.u32), 2: ("uptime_ns", Reader.u64), 3: ("num_cpus", Reader.u8),
    4: ("guest_memory", Reader.u64), 5: ("devices", lambda r: r.vector(Reader.string)),
    6: ("stop_error", Reader.u32), 7: ("detected_problems", lambda r: r.vector(Reader.string)),
    8: ("resident_bytes", Reader.u64), 9: ("exits", Reader.u64), 10: ("kicks", Reader.u64),
    11: ("irqs", Reader.u64),
}


def info_table(reader):
    """A GuestInfo as a dict of the fields that are there."""
    info = {}
    for ordinal, value in read_table(reader):
        if ordinal not in INFO_FIELDS:
            raise WireError(f"GuestInfo has no ordinal {ordinal}")
        name, read = INFO_FIELDS[ordinal]
        inner = Reader(value)
        info[name] = read(inner)
        inner.end()
    return info


class Message:
    def __init__(self, obj=0, method=0, payload=b"", txid=0, flags=0, fds=()):
        self.obj, self.method, self.txid, self.flags = obj, method, txid, flags
        self.payload, self.fds = bytes(payload), list(fds)

    def __repr__(self):
        return (f"<Message object {self.obj} method {self.method:#06x} txid {self.txid:#x} "
                f"flags {self.flags} fds {self.fds} payload {self.payload.hex()}>")

    def encode(self):
        payload = self.payload + bytes(-len(self.payload) % 8)
        return HEADER.pack(HEADER.size + len(payload), self.txid, self.obj, self.method,
                           self.flags, len(self.fds)) + payload

    def reader(self):
        return Reader(self.payload)


def decode_header(data):
    """size, txid, object, method, flags, nfds, all within the page's bounds."""
    size, txid, obj, method, flags, nfds = HEADER.unpack(data[:HEADER.size])
    if size < HEADER.size or size > SIZE_MAX or size % 8:
        raise WireError(f"size {size}")
    if flags & ~(REPLY | ERROR | EVENT) or (flags & ERROR and not flags & REPLY):
        raise WireError(f"flags {flags:#x}")
    if nfds > FDS_MAX:
        raise WireError(f"{nfds} descriptors")
    return size, txid, obj, method, flags, nfds


def decode(data, fds=()):
    size, txid, obj, method, flags, nfds = decode_header(data)
    if size != len(data):
        raise WireError(f"size {size} of {len(data)} bytes")
    message = Message(obj, method, data[HEADER.size:], txid, flags, fds)
    message.nfds = nfds
    return message


def error_of(message):
    """The CallError of an ERROR reply."""
    reader = message.reader()
    error = CallError(reader.u32(), reader.u32(), reader.string())
    reader.end()
    if not error.detail:
        raise WireError(f"an error without a detail: {message}")
    return error


# ------------------------------------------------------------------------------------ transport

class Channel:
    """Messages and descriptors over one socket; either end."""

    def __init__(self, sock):
        self.sock, self.buffer, self.fds = sock, bytearray(), collections.deque()
        sock.setblocking(False)

    def fileno(self):
        return self.sock.fileno()

    def close(self):
        while self.fds:
            os.close(self.fds.popleft())
        self.sock.close()

    def send_raw(self, data, fds=(), timeout=PATIENCE):
        """Any bytes; the descriptors ride on the first one."""
        view, ancillary = memoryview(data), []
        if fds:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        deadline = time.monotonic() + timeout
        while view:
            try:
                sent = self.sock.sendmsg([view], ancillary)
                view, ancillary = view[sent:], []
            except BlockingIOError:
                if not select.select([], [self.sock], [], deadline - time.monotonic())[1]:
                    raise TimeoutError("the peer does not read") from None
            except (BrokenPipeError, ConnectionResetError):
                raise Disconnected("while sending") from None

    def send(self, message):
        self.send_raw(message.encode(), message.fds)

    def _fill(self, timeout):
        if not select.select([self.sock], [], [], max(timeout, 0))[0]:
            raise TimeoutError("no message came")
        try:
            data, ancillary, flags, _ = self.sock.recvmsg(
                SIZE_MAX, socket.CMSG_SPACE(64 * 4), socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            raise Disconnected("reset") from None
        if flags & socket.MSG_CTRUNC:
            raise WireError("descriptors were cut off")
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(payload[:len(payload) - len(payload) % fds.itemsize])
                self.fds.extend(fds)
        if not data:
            raise Disconnected("end of stream" if not self.buffer else
                               f"end of stream within a message: {self.buffer.hex()}")
        self.buffer += data

    def recv(self, timeout=PATIENCE):
        """The next message; TimeoutError, Disconnected or WireError."""
        deadline = time.monotonic() + timeout
        while True:
            if len(self.buffer) >= HEADER.size:
                need = decode_header(bytes(self.buffer[:HEADER.size]))[0]
                if len(self.buffer) >= need:
                    break
            self._fill(deadline - time.monotonic())
        data = bytes(self.buffer[:need])
        del self.buffer[:need]
        nfds = data[15]
        if nfds > len(self.fds):
            raise WireError(f"{nfds} descriptors announced, {len(self.fds)} came")
        return decode(data, [self.fds.popleft() for _ in range(nfds)])


# --------------------------------------------------------------------------------------- client

def default_socket():
    if os.geteuid() == 0:
        return "/run/ringvisor.sock"
    return os.path.join(os.environ.get("XDG_RUNTIME_DIR", "/run"), "ringvisor.sock")


class Client:
    """One connection. Replies that nobody waits for yet are kept, events as well (.events); calls of
    the server (Accept) wait in .accepts."""

    def __init__(self, path=None, timeout=PATIENCE):
        self.timeout = timeout
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect(path or default_socket())
        self.channel = Channel(sock)
        self.txid, self.next_id = 0, 0
        self.replies, self.events, self.accepts = {}, [], []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.channel.close()

    def new_id(self):
        self.next_id += 1
        return self.next_id

    def new_txid(self):
        self.txid += 1
        return self.txid

    # -- any message

    def send(self, obj, method, payload=b"", fds=(), txid=0, flags=0):
        self.channel.send(Message(obj, method, payload, txid, flags, fds))

    def send_raw(self, data, fds=()):
        self.channel.send_raw(data, fds)

    def recv(self, timeout=None):
        return self.channel.recv(self.timeout if timeout is None else timeout)

    def start(self, obj, method, payload=b"", fds=()):
        """Sends a call; its txid is for wait()."""
        txid = self.new_txid()
        self.send(obj, method, payload, fds, txid)
        return txid

    def _sort(self, message):
        if message.flags & EVENT:
            if message.method == VIOLATION:
                reader = message.reader()
                raise Violation(reader.u32(), reader.u32(), reader.string())
            self.events.append(message)
        elif message.flags & REPLY:
            if message.txid in self.replies:
                raise WireError(f"two replies to {message.txid}")
            self.replies[message.txid] = message
        else:
            self.accepts.append(message)

    def pump(self, timeout=0):
        """Takes in what is there, without waiting longer than for a first message."""
        try:
            while True:
                self._sort(self.recv(timeout))
                timeout = 0
        except TimeoutError:
            pass

    def wait(self, txid, timeout=None):
        """The reply to a call; CallError if it is an error."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while txid not in self.replies:
            self._sort(self.recv(deadline - time.monotonic()))
        message = self.replies.pop(txid)
        if message.flags & ERROR:
            raise error_of(message)
        return message

    def call(self, obj, method, payload=b"", fds=(), timeout=None):
        return self.wait(self.start(obj, method, payload, fds), timeout)

    def is_pending(self, txid):
        """True while no reply to it has come."""
        self.pump()
        return txid not in self.replies

    def epitaph(self, obj, timeout=None):
        """Waits for the Closed event of an object: its epitaph."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            for event in self.events:
                if event.obj == obj and event.method == CLOSE:
                    self.events.remove(event)
                    return event.reader().i32()
            self._sort(self.recv(deadline - time.monotonic()))

    def expect_violation(self, timeout=None):
        """Reads until the Violation event and the end of the connection behind it."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        violation = None
        while violation is None:
            try:
                self._sort(self.recv(deadline - time.monotonic()))
            except Violation as got:
                violation = got
        try:
            message = self.recv(deadline - time.monotonic())
        except Disconnected:
            return violation
        raise WireError(f"after a violation came {message}")

    def release(self, obj):
        """Close: the one-way message of that name."""
        self.send(obj, CLOSE)

    # -- Host

    def info(self):
        reader = self.call(0, INFO).reader()
        info = {name: reader.u32() for name in ("wire_version", "cores", "guests")}
        reader.zeros(4)
        info["build"], info["kvm"] = reader.string(), reader.string()
        reader.end()
        return info

    def list(self):
        reader = self.call(0, LIST).reader()
        guests = reader.vector(lambda r: {
            "name": r.string(), "status": r.u32(), "cpus": r.u32(), "memory": r.u64(),
            "uptime_ns": r.u64()})
        reader.end()
        return guests

    def open_lifecycle(self, name):
        obj = self.new_id()
        self.call(0, OPEN_LIFECYCLE, Writer().u32(obj).u32(0).string(name).data)
        return Lifecycle(self, obj)

    def launch(self, name, config, fds=()):
        obj = self.new_id()
        self.call(0, LAUNCH, Writer().u32(obj).u32(0).string(name).raw(config).data, fds)
        return Guest(self, obj)

    def force_shutdown(self, name):
        self.call(0, FORCE_SHUTDOWN, Writer().string(name).data)

    def connect(self, name):
        obj = self.new_id()
        self.call(0, CONNECT, Writer().u32(obj).u32(0).string(name).data)
        return Guest(self, obj)

    def get_info(self, name):
        reader = self.call(0, GET_INFO, Writer().string(name).data).reader()
        info = info_table(reader)
        reader.end()
        return info

    def metrics(self):
        (fd,) = self.call(0, METRICS).fds
        with os.fdopen(fd, "rb") as memory:
            memory.seek(0)
            return memory.read().decode()


class Object:
    def __init__(self, client, obj):
        self.client, self.obj = client, obj

    def call(self, method, payload=b"", fds=(), timeout=None):
        return self.client.call(self.obj, method, payload, fds, timeout)

    def epitaph(self, timeout=None):
        return self.client.epitaph(self.obj, timeout)

    def release(self):
        self.client.release(self.obj)

    def _socket(self, method):
        (fd,) = self.call(method).fds
        return socket.socket(fileno=fd)

    def _child(self, method, kind):
        obj = self.client.new_id()
        self.call(method, Writer().u32(obj).u32(0).data)
        return kind(self.client, obj)


class Lifecycle(Object):
    def create(self, config, fds=()):
        self.call(CREATE, config, fds)

    def bind(self):
        obj = self.client.new_id()
        self.client.send(self.obj, BIND, Writer().u32(obj).u32(0).data)
        return Guest(self.client, obj)

    def run(self):
        """Starts the guest; the txid of the pending call, for client.wait()."""
        return self.client.start(self.obj, RUN)

    def stop(self, timeout=None):
        self.call(STOP, timeout=timeout)


class Guest(Object):
    def console(self):
        return self._socket(GET_CONSOLE)

    def serial(self):
        return self._socket(GET_SERIAL)

    def vsock(self):
        return self._child(GET_HOST_VSOCK_ENDPOINT, Vsock)

    def balloon(self):
        return self._child(GET_BALLOON_CONTROLLER, Balloon)

    def mem(self):
        return self._child(GET_MEM_CONTROLLER, Mem)


class Vsock(Object):
    def listen(self, port):
        """The acceptor's object id; its calls come by client.accepts."""
        acceptor = self.client.new_id()
        self.call(LISTEN, Writer().u32(port).u32(acceptor).data)
        return acceptor

    def connect(self, guest_port, timeout=None):
        """(host port, socket)"""
        reply = self.call(VSOCK_CONNECT, Writer().u32(guest_port).u32(0).data, timeout=timeout)
        reader = reply.reader()
        host_port = reader.u32()
        reader.zeros(4)
        return host_port, socket.socket(fileno=reply.fds[0])

    def next_accept(self, timeout=None):
        """The server's next Accept: (message, src_cid, src_port, port)."""
        client = self.client
        deadline = time.monotonic() + (client.timeout if timeout is None else timeout)
        while not client.accepts:
            client._sort(client.recv(deadline - time.monotonic()))
        message = client.accepts.pop(0)
        if message.method != ACCEPT or not message.txid & SERVER_TXID:
            raise WireError(f"a call of the server: {message}")
        reader = message.reader()
        return message, reader.u32(), reader.u32(), reader.u32()

    def accept(self, message):
        """Answers an Accept with a new socket pair; our end."""
        ours, theirs = socket.socketpair()
        with theirs:
            self.client.send(message.obj, ACCEPT, fds=[theirs.fileno()], txid=message.txid,
                             flags=REPLY)
        return ours

    def refuse(self, message, code=6, detail="refused"):
        payload = Writer().u32(STATUS).u32(code).string(detail).data
        self.client.send(message.obj, ACCEPT, payload, txid=message.txid, flags=REPLY | ERROR)


class Balloon(Object):
    def size(self):
        reader = self.call(GET_BALLOON_SIZE).reader()
        return reader.u32(), reader.u32()

    def request(self, pages):
        self.client.send(self.obj, REQUEST_NUM_PAGES, Writer().u32(pages).u32(0).data)

    def stats(self, timeout=None):
        """(status, {tag: value})"""
        reader = self.call(GET_MEM_STATS, timeout=timeout).reader()
        status = reader.i32()
        reader.zeros(4)

        def entry(r):
            tag = r.u16()
            r.zeros(6)
            return tag, r.u64()

        return status, dict(reader.vector(entry))


class Mem(Object):
    FIELDS = ("block_size", "region_size", "usable_region_size", "plugged_size", "requested_size")

    def size(self):
        reader = self.call(GET_MEM_SIZE).reader()
        return {name: reader.u64() for name in self.FIELDS}

    def request(self, size):
        self.client.send(self.obj, REQUEST_SIZE, Writer().u64(size).data)


# -------------------------------------------------------------------------------------- vectors

def vector_messages():
    """The messages that the vectors' names describe, made here from the page."""
    def reply(obj, method, txid, payload=b"", fds=0):
        return Message(obj, method, payload, txid, REPLY, [0] * fds)

    linux = config_table(kernel_type=LINUX, kernel="/boot/vmlinuz", ramdisk=Fd(0),
                         cmdline="console=hvc0", cmdline_add=["quiet", "panic=-1"], cpus=1,
                         guest_memory=128 << 20)
    small = config_table(kernel_type=BUILTIN, cpus=2, guest_memory=64 << 20, virtio_console=1,
                         virtio_vsock=1, guest_cid=42)
    error = Writer().u32(GUEST_ERROR).u32(13).string("no VMM has been created in slot web-1")
    stats = Writer().i32(0).u32(0).vector(
        [(4, 4096), (5, 65536)], lambda w, e: w.u16(e[0]).u16(0).u32(0).u64(e[1]))
    sizes = Writer().u64(2 << 20).u64(1 << 30).u64(1 << 30).u64(128 << 20).u64(256 << 20)
    return {
        "host.info": Message(0, INFO, txid=1),
        "host.open_lifecycle": Message(
            0, OPEN_LIFECYCLE, Writer().u32(1).u32(0).string("web-1").data, 2),
        "lifecycle.create.builtin": Message(1, CREATE, small, 3),
        "lifecycle.create.linux": Message(1, CREATE, linux, 4, fds=[0]),
        "lifecycle.bind": Message(1, BIND, Writer().u32(2).u32(0).data),
        "lifecycle.run": Message(1, RUN, txid=5),
        "reply.ok": reply(1, CREATE, 3),
        "reply.error.guest_error.13": Message(1, RUN, error.data, 5, REPLY | ERROR),
        "guest.get_console.reply": reply(2, GET_CONSOLE, 6, fds=1),
        "guest.closed": Message(2, CLOSE, Writer().i32(1).u32(0).data, flags=EVENT),
        "vsock.listen": Message(3, LISTEN, Writer().u32(1024).u32(7).data, 7),
        "acceptor.accept.cid": Message(
            7, ACCEPT, Writer().u32(42).u32(5000).u32(1024).u32(0).data, SERVER_TXID | 1),
        "acceptor.accept.reply": reply(7, ACCEPT, SERVER_TXID | 1, fds=1),
        "vsock.connect.reply": reply(3, VSOCK_CONNECT, 8, Writer().u32(49152).u32(0).data, 1),
        "balloon.size.reply": reply(4, GET_BALLOON_SIZE, 9, Writer().u32(256).u32(512).data),
        "balloon.stats.reply": reply(4, GET_MEM_STATS, 10, stats.data),
        "mem.size.reply": reply(5, GET_MEM_SIZE, 11, sizes.data),
        "violation": Message(0, VIOLATION, Writer().u32(4).u32(12).string(
            "size 17 is not a multiple of 8").data, flags=EVENT),
    }


def check_vectors(path):
    messages, bad, seen = vector_messages(), 0, set()
    with open(path, encoding="ascii") as lines:
        for line in lines:
            name, _, hexadecimal = line.split()
            data = bytes.fromhex(hexadecimal)
            keys = [key for key in messages if name.startswith(key)]
            key = max(keys, key=len, default=None)
            decode(data)
            seen.add(key)
            made = messages[key].encode() if key else b""
            if made != data:
                bad += 1
                print(f"{name}\n  vector {data.hex()}\n  made   {made.hex()}")
    missing = set(messages) - seen
    print(f"{len(seen)} vectors, {bad} differ, not in the file: {sorted(missing) or 'none'}")
    return 1 if bad or missing else 0


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "vectors":
        return check_vectors(arguments[1])
    if len(arguments) == 2 and arguments[0] in ("info", "list", "metrics"):
        with Client(arguments[1]) as client:
            print(getattr(client, arguments[0])())
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
