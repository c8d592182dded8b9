#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HostVsockEndpoint and HostVsockAcceptor (conformance.md, "Vsock"). Tests named after cases of the
reference say so."""
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

OK, INTERNAL, NO_RESOURCES, BAD_STATE = 0, 1, 3, 7
ANSWER_SECONDS, ACCEPT_SECONDS = 5, 10
ACCEPTS_MAX = 64
ECHO, DISCARD, SOURCE = 7, 9, 19
EPHEMERAL = range(49152, 65536)
GUEST_CID = 3


def listen_payload(port, acceptor):
    return wire.Writer().u32(port).u32(acceptor).data


class Case(daemon.Case):
    def endpoint(self, name="web", **config):
        """(lifecycle, endpoint) of a guest that runs."""
        lifecycle, _, guest = self.running(name, virtio_vsock=1, **config)
        return lifecycle, guest.vsock()

    def without_driver(self):
        """(lifecycle, endpoint) of a guest whose driver has let go of the device."""
        lifecycle, _, guest = self.running(virtio_vsock=1)
        self.assertIn(b"VERDICT vsock ok", self.shell(guest).command("vsock stop"))
        return lifecycle, guest.vsock()

    def status_error(self, name, call, *args, **more):
        return self.refused(wire.STATUS, name, call, *args, **more)


class Listening(Case):
    def test_a_port_has_one_listener(self):
        """FailWhenListeningOnSameHostPort"""
        _, vsock = self.endpoint()
        vsock.listen(1024)
        error = self.status_error("ALREADY_BOUND", vsock.listen, 1024)
        self.assertIn("1024", error.detail)
        self.assertEqual(vsock.client.epitaph(vsock.client.next_id), 5)
        other = self.daemon.client().connect("web").vsock()
        self.status_error("ALREADY_BOUND", other.listen, 1024)
        vsock.listen(1025)

    def test_any_port(self):
        """ListenMultipleTimesDifferentHostPorts"""
        _, vsock = self.endpoint()
        for port in 0, 1, 2, 1023, 49152, 65535, 65536, 0x7fffffff, 0xffffffff:
            vsock.listen(port)
            self.status_error("ALREADY_BOUND", vsock.listen, port)

    def test_close_of_the_acceptor_ends_it_at_once(self):
        _, vsock = self.endpoint()
        for _ in range(20):
            vsock.client.release(vsock.listen(1024))

    def test_pipelined_close_of_the_acceptor(self):
        """Each listener is gone before the next call looks."""
        _, vsock = self.endpoint()
        client, calls = vsock.client, []
        for _ in range(20):
            acceptor = client.new_id()
            calls.append(client.start(vsock.obj, wire.LISTEN, listen_payload(77, acceptor)))
            client.release(acceptor)
        for call in calls:
            client.wait(call)

    def test_the_listener_outlives_its_endpoint(self):
        _, vsock = self.endpoint()
        acceptor = vsock.listen(1024)
        vsock.release()
        other = self.daemon.client().connect("web").vsock()
        self.status_error("ALREADY_BOUND", other.listen, 1024)
        vsock.client.release(acceptor)
        self.until(lambda: self.can_listen(other, 1024))

    def can_listen(self, vsock, port):
        try:
            vsock.listen(port)
            return True
        except wire.CallError:
            return False

    def test_a_client_that_leaves_frees_its_ports(self):
        _, vsock = self.endpoint()
        client = self.daemon.client()
        other = client.connect("web").vsock()
        for port in range(100):
            other.listen(port)
        client.close()
        self.until(lambda: self.can_listen(vsock, 99))
        for port in range(99):
            vsock.listen(port)

    def test_the_end_of_the_guest_closes_acceptors(self):
        lifecycle, vsock = self.endpoint()
        acceptors = [vsock.listen(port) for port in (1, 2)]
        lifecycle.stop()
        for acceptor in acceptors:
            self.assertEqual(vsock.client.epitaph(acceptor), INTERNAL)
        self.assertEqual(vsock.epitaph(), INTERNAL)

    def test_a_clean_end_says_so(self):
        _, _, guest = self.running(virtio_vsock=1)
        vsock = guest.vsock()
        acceptor = vsock.listen(1)
        self.shell(guest).send("halt")
        self.assertEqual(vsock.client.epitaph(acceptor), OK)

    def test_listeners_of_two_guests_are_two(self):
        _, vsock = self.endpoint()
        _, other = self.endpoint("other")
        vsock.listen(7)
        other.listen(7)

    def test_an_acceptor_id_in_use_is_a_violation(self):
        _, vsock = self.endpoint()
        vsock.client.start(vsock.obj, wire.LISTEN, listen_payload(1, vsock.obj))
        self.assertEqual(vsock.client.expect_violation().code, 4)

    def test_more_objects_than_the_limit(self):
        client = self.daemon.client()
        lifecycle = client.open_lifecycle("web")
        lifecycle.create(wire.builtin(virtio_vsock=1))
        vsock = lifecycle.bind().vsock()
        for port in range(253):
            vsock.listen(port)
        client.start(vsock.obj, wire.LISTEN, listen_payload(999, client.new_id()))
        self.assertEqual(client.expect_violation().code, NO_RESOURCES)


class InitialListeners(Case):
    def created(self, listeners, client=None):
        lifecycle = (client or self.client).open_lifecycle("web")
        lifecycle.create(wire.builtin(virtio_vsock=1, vsock_listeners=listeners))
        return lifecycle

    def test_they_listen_from_create_on(self):
        vsock = self.created([(5000, 100), (5001, 101)]).bind().vsock()
        for port in 5000, 5001:
            self.status_error("ALREADY_BOUND", vsock.listen, port)

    def test_they_belong_to_the_client_that_created(self):
        creator = self.daemon.client()
        self.created([(5000, 100)], creator)
        vsock = self.client.open_lifecycle("web").bind().vsock()
        self.status_error("ALREADY_BOUND", vsock.listen, 5000)
        creator.close()
        self.until(lambda: Listening.can_listen(self, vsock, 5000))

    def test_close_ends_them(self):
        vsock = self.created([(5000, 100), (5001, 101)]).bind().vsock()
        self.client.release(100)
        vsock.listen(5000)
        self.status_error("ALREADY_BOUND", vsock.listen, 5001)

    def test_close_before_the_answer(self):
        lifecycle = self.client.open_lifecycle("web")
        config = wire.builtin(virtio_vsock=1, vsock_listeners=[(5000, 100)])
        call = self.client.start(lifecycle.obj, wire.CREATE, config)
        self.client.release(100)
        self.client.wait(call)
        lifecycle.bind().vsock().listen(5000)

    def test_the_guest_s_end_closes_them(self):
        lifecycle = self.created([(5000, 100)])
        lifecycle.stop()
        self.assertEqual(self.client.epitaph(100), INTERNAL)
        self.created([(5000, 100)])  # the id is free again

    def test_by_launch(self):
        guest = self.client.launch("web", wire.builtin(virtio_vsock=1,
                                                       vsock_listeners=[(5000, 100)]))
        vsock = guest.vsock()
        self.status_error("ALREADY_BOUND", vsock.listen, 5000)
        self.client.release(100)
        vsock.listen(5000)

    def test_a_port_twice(self):
        config = wire.builtin(virtio_vsock=1, vsock_listeners=[(9, 100), (9, 101)])
        lifecycle = self.client.open_lifecycle("web")
        self.guest_error("DEVICE_START_FAILURE", lifecycle.create, config)
        for acceptor in 100, 101:
            self.client.epitaph(acceptor)
        self.manager_error("BAD_CONFIG", self.client.launch, "other", config)
        for acceptor in 100, 101:
            self.client.epitaph(acceptor)

    def test_ids_that_cannot_be(self):
        lifecycle = self.client.open_lifecycle("web")
        for listeners, closed in (([(1, 0), (2, 100)], [100]),
                                  ([(1, 100), (2, 100)], [100]),
                                  ([(1, 100), (2, lifecycle.obj)], [100])):
            config = wire.builtin(virtio_vsock=1, vsock_listeners=listeners)
            error = self.guest_error("BAD_CONFIG", lifecycle.create, config)
            self.assertIn("acceptor_id", error.detail)
            for acceptor in closed:
                self.client.epitaph(acceptor)
            self.manager_error("BAD_CONFIG", self.client.launch, "other", config)
            for acceptor in closed:
                self.client.epitaph(acceptor)

    def test_without_the_device(self):
        lifecycle = self.client.open_lifecycle("web")
        self.guest_error("BAD_CONFIG", lifecycle.create, wire.builtin(vsock_listeners=[(1, 100)]))
        self.client.epitaph(100)

    def test_a_running_guest_s_are_unharmed(self):
        lifecycle = self.created([(5000, 100)])
        lifecycle.run()
        guest = lifecycle.bind()
        self.shell(guest)
        self.guest_error("ALREADY_RUNNING", lifecycle.create,
                         wire.builtin(virtio_vsock=1, vsock_listeners=[(5001, 101)]))
        self.client.epitaph(101)
        vsock = guest.vsock()
        self.status_error("ALREADY_BOUND", vsock.listen, 5000)
        vsock.listen(5001)

    def test_more_than_the_limit_of_objects(self):
        client = self.daemon.client()
        lifecycle = client.open_lifecycle("web")
        client.start(lifecycle.obj, wire.CREATE, wire.builtin(
            virtio_vsock=1, vsock_listeners=[(port, 100 + port) for port in range(300)]))
        self.assertEqual(client.expect_violation().code, NO_RESOURCES)


class Connecting(Case):
    def test_a_guest_without_a_driver(self):
        """TIMED_OUT after 5 s; all at once, not one after the other; answers in order."""
        _, vsock = self.without_driver()
        start = time.monotonic()
        calls = [vsock.client.start(vsock.obj, wire.VSOCK_CONNECT,
                                    wire.Writer().u32(port).u32(0).data) for port in range(60)]
        listen = vsock.client.start(vsock.obj, wire.LISTEN,
                                    listen_payload(1, vsock.client.new_id()))
        replies = [vsock.client.recv() for _ in range(61)]
        took = time.monotonic() - start
        self.assertEqual([reply.txid for reply in replies], [*calls, listen])
        for reply in replies[:-1]:
            error = wire.error_of(reply)
            self.assertEqual(error.name, "TIMED_OUT", error.detail)
        self.assertGreaterEqual(took, ANSWER_SECONDS - 0.1)
        self.assertLess(took, 3 * ANSWER_SECONDS)

    def test_before_run(self):
        lifecycle = self.client.open_lifecycle("web")
        lifecycle.create(wire.builtin(virtio_vsock=1))
        self.status_error("TIMED_OUT", lifecycle.bind().vsock().connect, 7)

    def test_the_guest_s_end_refuses(self):
        lifecycle, vsock = self.without_driver()
        calls = [vsock.client.start(vsock.obj, wire.VSOCK_CONNECT, bytes(8)) for _ in range(30)]
        lifecycle.stop()
        for call in calls:
            self.status_error("CONNECTION_REFUSED", vsock.client.wait, call)
        self.assertEqual(vsock.epitaph(), INTERNAL)

    def test_a_client_that_leaves_is_not_waited_for(self):
        """Its connections are given up: the ephemeral ports, 16,384, would not last."""
        self.without_driver()
        for _ in range(300):
            client = self.daemon.client()
            vsock = client.connect("web").vsock()
            for _ in range(60):
                client.start(vsock.obj, wire.VSOCK_CONNECT, bytes(8))
            client.start(0, wire.INFO)
            client.recv()
            client.close()
        self.status_error("TIMED_OUT", self.client.connect("web").vsock().connect, 7)

    def test_close_of_the_endpoint_leaves_its_calls(self):
        _, vsock = self.without_driver()
        call = vsock.client.start(vsock.obj, wire.VSOCK_CONNECT, bytes(8))
        vsock.release()
        self.status_error("TIMED_OUT", vsock.client.wait, call)

    def test_use_before_the_answer(self):
        """An endpoint may be used as soon as it is asked for."""
        _, _, guest = self.running(virtio_vsock=1)
        client, obj, acceptor = self.client, self.client.new_id(), self.client.new_id()
        get = client.start(guest.obj, wire.GET_HOST_VSOCK_ENDPOINT,
                           wire.Writer().u32(obj).u32(0).data)
        listen = client.start(obj, wire.LISTEN, listen_payload(1, acceptor))
        client.wait(get)
        client.wait(listen)

    def test_use_of_one_that_is_refused(self):
        _, _, guest = self.running()
        client, obj, acceptor = self.client, self.client.new_id(), self.client.new_id()
        get = client.start(guest.obj, wire.GET_HOST_VSOCK_ENDPOINT,
                           wire.Writer().u32(obj).u32(0).data)
        client.start(obj, wire.LISTEN, listen_payload(1, acceptor))
        self.guest_error("DEVICE_NOT_PRESENT", client.wait, get)
        self.assertEqual(client.epitaph(acceptor), BAD_STATE)


class Talking(Case):
    """With the driver of the embedded guest."""

    def setUp(self):
        super().setUp()
        _, _, guest = self.running(virtio_vsock=1)
        self.serial = self.shell(guest)
        self.vsock = guest.vsock()

    def stat(self):
        text = self.serial.command("vsock stat").decode().split()
        return {word.split("=")[0]: int(word.split("=")[1]) for word in text
                if "=" in word and word.split("=")[1].isdigit()}

    def connect(self, port):
        host_port, sock = self.vsock.connect(port)
        self.addCleanup(sock.close)
        sock.settimeout(daemon.PATIENCE)
        return host_port, sock

    def everything(self, sock):
        got = b""
        while more := sock.recv(1 << 16):
            got += more
        return got

    def request(self, line):
        """Starts a command of the guest that connects: the Accept that comes of it."""
        self.serial.send(line)
        return self.vsock.next_accept()


class ToTheGuest(Talking):
    def test_connect(self):
        """ClientInitiatedConnect, Write, Read, ShutdownWrite: the end of ours, then of the echo's."""
        host_port, sock = self.connect(ECHO)
        self.assertIn(host_port, EPHEMERAL)
        sock.sendall(b"hello")
        self.assertEqual(daemon.receive(sock, 5), b"hello")
        sock.sendall(b"and bye")
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(self.everything(sock), b"and bye")

    def test_one_after_the_other(self):
        """ClientConnectMultipleTimesSequentially"""
        ports = []
        for _ in range(20):
            host_port, sock = self.connect(ECHO)
            sock.sendall(b"x")
            self.assertEqual(sock.recv(1), b"x")
            sock.close()
            ports.append(host_port)
        self.assertEqual(ports, [ports[0] + i for i in range(20)], "rotating")

    def test_side_by_side(self):
        """ClientConnectMultipleTimesParallel, WriteMultipleConnections"""
        client = self.vsock.client
        calls = [client.start(self.vsock.obj, wire.VSOCK_CONNECT,
                              wire.Writer().u32(ECHO).u32(0).data) for _ in range(60)]
        replies = [client.wait(call) for call in calls]
        ports = [reply.reader().u32() for reply in replies]
        self.assertEqual(len(set(ports)), 60)
        sockets = [socket.socket(fileno=reply.fds[0]) for reply in replies]
        for i, sock in enumerate(sockets):
            sock.sendall(b"%d" % i)
            sock.shutdown(socket.SHUT_WR)
        for i, sock in enumerate(sockets):
            self.assertEqual(self.everything(sock), b"%d" % i)
            sock.close()

    def test_answers_keep_the_order(self):
        """A refusal that is quicker than the answer before it."""
        client, ports = self.vsock.client, (ECHO, 4000, DISCARD, 4001, SOURCE)
        calls = [client.start(self.vsock.obj, wire.VSOCK_CONNECT,
                              wire.Writer().u32(port).u32(0).data) for port in ports]
        replies = [client.recv() for _ in calls]
        self.assertEqual([reply.txid for reply in replies], calls)
        for port, reply in zip(ports, replies):
            self.assertEqual(bool(reply.flags & wire.ERROR), port >= 4000)
            for fd in reply.fds:
                os.close(fd)

    def test_nobody_listens_there(self):
        """ClientConnectionRefused"""
        error = self.status_error("CONNECTION_REFUSED", self.vsock.connect, 4000)
        self.assertIn("4000", error.detail)

    def test_ports_with_a_listener_are_passed_over(self):
        first, _ = self.connect(ECHO)
        for port in range(first + 1, first + 51):
            self.vsock.listen(port)
        self.assertEqual(self.connect(ECHO)[0], first + 51)

    def test_the_driver_is_waited_for(self):
        self.serial.command("vsock stop")
        call = self.vsock.client.start(self.vsock.obj, wire.VSOCK_CONNECT,
                                       wire.Writer().u32(ECHO).u32(0).data)
        self.assertTrue(self.vsock.client.is_pending(call))
        self.serial.command("vsock start")
        (fd,) = self.vsock.client.wait(call).fds
        with socket.socket(fileno=fd) as sock:
            sock.sendall(b"x")
            self.assertEqual(sock.recv(1), b"x")

    def test_a_reset_of_the_driver_refuses_what_it_had_seen(self):
        """And ends what is connected."""
        _, sock = self.connect(ECHO)
        self.serial.command("vsock stop")
        self.assertEqual(sock.recv(1), b"")

    def test_the_connection_needs_no_endpoint_and_no_client(self):
        client = self.daemon.client()
        vsock = client.connect("web").vsock()
        _, sock = vsock.connect(ECHO)
        with sock:
            vsock.release()
            client.close()
            self.until(lambda: "ringvisor_connections 1\n" in self.client.metrics())
            sock.settimeout(daemon.PATIENCE)
            sock.sendall(b"still")
            self.assertEqual(daemon.receive(sock, 5), b"still")

    def test_figures(self):
        _, sock = self.connect(ECHO)
        sock.sendall(bytes(5000))
        self.assertEqual(len(daemon.receive(sock, 5000)), 5000)
        self.vsock.listen(1)
        self.serial.command("vsock connect 2 nobody")
        metrics = self.client.metrics()
        for name, value in (("connections", 1), ("listeners", 1), ("connected_total", 1),
                            ("accepted_total", 0), ("refused_total", 1),
                            ("quarantined_ports", 0), ("to_guest_bytes_total", 5000),
                            ("from_guest_bytes_total", 5000), ("forced_closes_total", 0)):
            self.assertIn(f'ringvisor_guest_vsock_{name}{{guest="web"}} {value}\n', metrics)
        self.client.launch("bare", wire.builtin())
        self.assertNotIn('vsock_connections{guest="bare"}', self.client.metrics())


class FromTheGuest(Talking):
    def test_accept(self):
        """Listen; data both ways; the guest ends first, and still reads (half-close)."""
        acceptor = self.vsock.listen(1024)
        message, src_cid, src_port, port = self.request("vsock connect 1024 hello there")
        self.assertEqual((message.obj, src_cid, port), (acceptor, GUEST_CID, 1024))
        self.assertGreater(src_port, 0)
        with self.vsock.accept(message) as sock:
            sock.settimeout(daemon.PATIENCE)
            self.assertEqual(self.everything(sock), b"hello there")
            sock.sendall(b"an answer")
        self.assertIn(b"text=an answer", self.serial.expect(daemon.PROMPT))

    def test_nobody_listens(self):
        """NoListener"""
        self.assertIn(b"connection refused", self.serial.command("vsock connect 1024 hello"))

    def test_the_client_refuses(self):
        """GuestInitiatedConnectionRefused; then the key rests, but another one does not."""
        self.vsock.listen(1024)
        for _ in range(3):
            message, *_ = self.request("vsock connect 1024 hello")
            self.vsock.refuse(message)
            self.assertIn(b"connection refused", self.serial.expect(daemon.PROMPT))
        self.assertIn('quarantined_ports{guest="web"} 3\n', self.client.metrics())

    def test_an_initial_listener(self):
        """GuestConnectToInitialListener, by Create and by Launch."""
        lifecycle = self.client.open_lifecycle("second")
        config = wire.builtin(virtio_vsock=1, vsock_listeners=[(5000, 1000)], guest_cid=77)
        lifecycle.create(config)
        guest = lifecycle.bind()
        lifecycle.run()
        self.accepts(guest, 1000)
        self.accepts(self.client.launch("third", wire.builtin(
            virtio_vsock=1, vsock_listeners=[(5000, 1001)], guest_cid=77)), 1001)

    def accepts(self, guest, acceptor):
        serial = self.shell(guest)
        serial.send("vsock connect 5000 hello")
        message, src_cid, _, port = self.vsock.next_accept()
        self.assertEqual((message.obj, src_cid, port), (acceptor, 77, 5000))
        with self.vsock.accept(message) as sock:
            self.assertEqual(self.everything(sock), b"hello")
        self.assertIn(b"VERDICT vsock ok", serial.expect(daemon.PROMPT))

    def test_one_port_many_connections(self):
        """GuestInitiatedMultiplexOverOneHostPort; answered in another order than asked."""
        self.vsock.listen(1024)
        self.serial.send("vsock storm 1024 32 32")
        accepts = [self.vsock.next_accept() for _ in range(32)]
        self.assertEqual(len({src_port for _, _, src_port, _ in accepts}), 32)
        for message, *_ in reversed(accepts):
            self.vsock.accept(message).close()
        self.assertIn(b"VERDICT vsock ok", self.serial.expect(daemon.PROMPT))

    def test_many_are_asked_for_in_portions(self):
        """No more than 64 are without an answer; the others come, in their order."""
        self.vsock.listen(1024)
        self.serial.send("vsock storm 1024 200 200")
        accepts = [self.vsock.next_accept() for _ in range(ACCEPTS_MAX)]
        self.until(lambda: 'vsock_connections{guest="web"} 200\n' in self.client.metrics())
        self.assertEqual(self.client.accepts, [])
        for _ in range(200 - ACCEPTS_MAX):
            self.vsock.accept(accepts.pop(0)[0]).close()
            accepts.append(self.vsock.next_accept())
        for message, *_ in accepts:
            self.vsock.accept(message).close()
        self.assertIn(b"VERDICT vsock ok", self.serial.expect(daemon.PROMPT))

    def test_a_listener_with_many_requests_holds_up_no_other(self):
        """They take turns at the places for those without an answer."""
        other = self.client.launch("other", wire.builtin(virtio_vsock=1, guest_cid=4))
        serial, acceptor = self.shell(other), other.vsock().listen(1025)
        self.vsock.listen(1024)
        self.serial.send("vsock storm 1024 200 200")
        accepts = [self.vsock.next_accept() for _ in range(ACCEPTS_MAX)]
        self.until(lambda: 'vsock_connections{guest="web"} 200\n' in self.client.metrics())
        serial.send("vsock connect 1025 hello")
        self.until(lambda: 'vsock_connections{guest="other"} 1\n' in self.client.metrics())
        objects = []
        for _ in range(201 - ACCEPTS_MAX):
            self.vsock.accept(accepts.pop(0)[0]).close()
            accepts.append(self.vsock.next_accept())
            objects.append(accepts[-1][0].obj)
        self.assertIn(acceptor, objects[:2])
        for message, *_ in accepts:
            self.vsock.accept(message).close()
        for shell in serial, self.serial:
            self.assertIn(b"VERDICT vsock ok", shell.expect(daemon.PROMPT))

    def test_close_of_the_acceptor_refuses_what_is_pending(self):
        """And leaves what was accepted."""
        acceptor = self.vsock.listen(1024)
        message, *_ = self.request("vsock connect 1024 first")
        with self.vsock.accept(message) as sock:
            sock.settimeout(daemon.PATIENCE)
            self.assertEqual(sock.recv(100), b"first")
            self.vsock.client.release(acceptor)
            sock.sendall(b"lives on")
        self.assertIn(b"text=lives on", self.serial.expect(daemon.PROMPT))
        acceptor = self.vsock.listen(1024)
        message, *_ = self.request("vsock connect 1024 second")
        self.vsock.client.release(acceptor)
        self.assertIn(b"connection refused", self.serial.expect(daemon.PROMPT))
        self.vsock.accept(message).close()  # too late, and no harm

    def test_the_guest_gives_up(self):
        """While the client thinks: its answer finds nobody, and its socket is closed."""
        self.vsock.listen(1024)
        message, *_ = self.request("vsock connect 1024 hello")
        self.client.force_shutdown("web")
        self.assertEqual(self.client.epitaph(message.obj), INTERNAL)
        with self.vsock.accept(message) as sock:
            sock.settimeout(daemon.PATIENCE)
            self.assertEqual(sock.recv(1), b"")
        self.client.info()

    def test_no_answer_is_a_refusal_in_the_end(self):
        self.vsock.listen(1024)
        start = time.monotonic()
        message, *_ = self.request("vsock connect 1024 hello")
        self.assertIn(b"connection refused", self.serial.expect(daemon.PROMPT))
        self.assertGreaterEqual(time.monotonic() - start, ACCEPT_SECONDS - 0.1)
        with self.vsock.accept(message) as sock:  # still owed
            sock.settimeout(daemon.PATIENCE)
            self.assertEqual(sock.recv(1), b"")
        message, *_ = self.request("vsock connect 1024 again")
        self.vsock.accept(message).close()
        self.assertIn(b"VERDICT vsock ok", self.serial.expect(daemon.PROMPT))


class Replies(Case):
    """Answers to calls that the server has never made."""

    def violation(self, obj, txid, flags=wire.REPLY | wire.ERROR):
        client = self.daemon.client()
        vsock = client.connect("web").vsock()
        acceptor = vsock.listen(1)
        payload = wire.Writer().u32(2).u32(6).string("no").data
        client.send(acceptor if obj is None else obj, wire.ACCEPT, payload, txid=txid, flags=flags)
        error = client.expect_violation()
        self.until(lambda: "ringvisor_connections 1\n" in self.client.metrics())
        return error

    def test_nobody_asked(self):
        self.endpoint()
        for txid in wire.SERVER_TXID | 1, wire.SERVER_TXID, 0xffffffff:
            self.assertIn("no call is pending", self.violation(None, txid).detail)
        self.violation(None, 1)
        self.violation(99, wire.SERVER_TXID | 1)

    def test_on_an_object_of_another_kind(self):
        self.endpoint()
        self.assertIn("is a Guest", self.violation(1, wire.SERVER_TXID | 1).detail)

    def test_on_one_that_was_closed(self):
        """It may have crossed with the end: dropped."""
        _, vsock = self.endpoint()
        acceptor = vsock.listen(1)
        vsock.client.release(acceptor)
        payload = wire.Writer().u32(2).u32(6).string("no").data
        vsock.client.send(acceptor, wire.ACCEPT, payload, txid=wire.SERVER_TXID | 1,
                          flags=wire.REPLY | wire.ERROR)
        read, write = os.pipe()
        fds = self.daemon.fds()
        vsock.client.send(acceptor, wire.ACCEPT, fds=[read], txid=wire.SERVER_TXID | 1,
                          flags=wire.REPLY)
        vsock.client.info()
        self.assertEqual(self.daemon.fds(), fds)
        os.close(read)
        os.close(write)


if __name__ == "__main__":
    daemon.main()
