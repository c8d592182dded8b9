#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Objects, pipelining, epitaphs, Close, the Guest's calls and errors with their causes."""
import os
import socket
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

INTERNAL, INVALID_ARGS, BAD_STATE, NOT_FOUND = 1, 4, 7, 10
NEW_ID = {wire.GET_HOST_VSOCK_ENDPOINT, wire.GET_BALLOON_CONTROLLER, wire.GET_MEM_CONTROLLER}


def new_id(obj, name=None):
    payload = wire.Writer().u32(obj).u32(0)
    return (payload.string(name) if name is not None else payload).data


class Pipelining(daemon.Case):
    def write(self, *messages):
        """All of them with one write."""
        self.client.send_raw(b"".join(
            wire.Message(obj, method, payload, txid).encode()
            for obj, method, payload, txid in messages))

    def test_everything_in_one_write(self):
        self.write((0, wire.OPEN_LIFECYCLE, new_id(1, "web"), 1),
                   (1, wire.CREATE, wire.builtin(), 2),
                   (1, wire.BIND, new_id(2), 0),
                   (1, wire.RUN, b"", 3),
                   (2, wire.GET_SERIAL, b"", 4),
                   (0, wire.INFO, b"", 5))
        for txid in 1, 2, 5:
            self.client.wait(txid)
        (fd,) = self.client.wait(4).fds
        with daemon.Serial(socket.socket(fileno=fd)) as serial:
            serial.expect(daemon.PROMPT)
            serial.send("halt")
            self.client.wait(3)

    def test_replies_of_an_object_come_in_call_order(self):
        self.write((0, wire.OPEN_LIFECYCLE, new_id(1, "web"), 10),
                   (0, wire.LAUNCH, new_id(2, "other") + wire.builtin(), 11),
                   (0, wire.LIST, b"", 12),
                   (0, wire.METRICS, b"", 13),
                   (0, wire.GET_INFO, wire.Writer().string("other").data, 14),
                   (0, wire.INFO, b"", 15))
        replies = [self.client.recv() for _ in range(6)]
        self.assertEqual([m.txid for m in replies], [10, 11, 12, 13, 14, 15])
        os.close(replies[3].fds[0])

    def test_run_holds_nobody_up(self):
        self.write((0, wire.OPEN_LIFECYCLE, new_id(1, "web"), 1),
                   (1, wire.CREATE, wire.builtin(), 2),
                   (1, wire.RUN, b"", 3),
                   (1, wire.STOP, b"", 4))
        order = [self.client.recv().txid for _ in range(4)]
        self.assertEqual(sorted(order[2:]), [3, 4])

    def test_a_message_in_any_pieces(self):
        data = wire.Message(0, wire.OPEN_LIFECYCLE, new_id(1, "web"), 1).encode()
        for byte in data:
            self.client.send_raw(bytes([byte]))
        self.client.wait(1)

    def test_a_refused_creation_closes_its_id(self):
        self.write((0, wire.CONNECT, new_id(1, "nobody"), 1),
                   (1, wire.GET_SERIAL, b"", 2))  # dropped with the object
        with self.assertRaises(wire.CallError):
            self.client.wait(1)
        self.assertEqual(self.client.epitaph(1), BAD_STATE)
        self.client.send(1, wire.GET_SERIAL, txid=3)  # dropped as well
        self.client.info()
        self.assertNotIn(2, self.client.replies)
        self.assertNotIn(3, self.client.replies)

    def test_an_id_may_be_chosen_anew(self):
        self.write((0, wire.CONNECT, new_id(1, "nobody"), 1))
        self.assertEqual(self.client.epitaph(1), BAD_STATE)
        for txid in range(2, 40, 2):
            self.write((0, wire.OPEN_LIFECYCLE, new_id(1, "web"), txid),
                       (1, wire.STOP, b"", txid + 1),
                       (1, wire.CLOSE, b"", 0))
            self.client.wait(txid)
            self.client.wait(txid + 1)

    def test_close_lets_earlier_calls_run(self):
        self.write((0, wire.OPEN_LIFECYCLE, new_id(1, "web"), 1),
                   (1, wire.CREATE, wire.builtin(), 2),
                   (1, wire.STOP, b"", 3),
                   (1, wire.CLOSE, b"", 0),
                   (0, wire.OPEN_LIFECYCLE, new_id(1, "other"), 4),
                   (1, wire.STOP, b"", 5))
        for txid in range(1, 6):
            self.client.wait(txid)

    def test_calls_on_a_creation_that_is_refused_after_its_close_are_answered(self):
        """No Closed tells of them."""
        self.write((0, wire.OPEN_LIFECYCLE, new_id(1, "web"), 1),
                   (1, wire.BIND, new_id(2), 0),
                   (2, wire.GET_SERIAL, b"", 2),
                   (2, wire.CLOSE, b"", 0))
        self.client.wait(1)
        with self.assertRaises(wire.CallError) as caught:
            self.client.wait(2)
        self.assertEqual(caught.exception.name, "PEER_CLOSED")
        self.assertEqual(self.client.events, [])

    def test_close_of_a_closed_object_is_harmless(self):
        lifecycle = self.client.open_lifecycle("web")
        for _ in range(3):
            lifecycle.release()
        guest = self.client.open_lifecycle("web").bind()
        self.assertEqual(guest.epitaph(), BAD_STATE)
        guest.release()
        self.client.info()

    def test_many_dead_objects(self):
        lifecycle = self.client.open_lifecycle("web")
        for _ in range(600):
            self.assertEqual(lifecycle.bind().epitaph(), BAD_STATE)


class Guests(daemon.Case):
    def test_serial_is_one_stream_for_all(self):
        _, _, guest = self.running()
        first = self.shell(guest)
        second = daemon.Serial(guest.serial())
        self.addCleanup(second.sock.close)
        second.send("echo from-the-second")
        first.expect(b"\nfrom-the-second")  # the command's output, behind its echo

    def test_serial_output_before_the_first_reader_is_kept(self):
        lifecycle, _, guest = self.running()
        self.until(lambda: self.client.get_info("web")["exits"])
        with daemon.Serial(guest.serial()) as serial:
            self.assertIn(b"Ringvisor guest", serial.expect(daemon.PROMPT))
        lifecycle.stop()

    def test_serial_before_run(self):
        lifecycle = self.client.open_lifecycle("web")
        lifecycle.create(wire.builtin())
        serial = daemon.Serial(lifecycle.bind().serial())
        self.addCleanup(serial.sock.close)
        lifecycle.run()
        self.assertIn(b"Ringvisor guest", serial.expect(daemon.PROMPT))

    def test_serial_of_a_guest_that_ended_can_be_read_to_its_end(self):
        _, run, guest = self.running()
        serial = self.shell(guest)
        serial.send("halt")
        self.client.wait(run)
        self.assertIn(b"powering off", serial.expect(b"powering off\r\n"))
        self.assertEqual(serial.sock.recv(1), b"")

    def test_devices_that_are_off(self):
        _, _, guest = self.running()
        for method in (wire.GET_CONSOLE, wire.GET_HOST_VSOCK_ENDPOINT,
                       wire.GET_BALLOON_CONTROLLER, wire.GET_MEM_CONTROLLER):
            obj = self.client.new_id()
            payload = new_id(obj) if method in NEW_ID else b""
            error = self.guest_error("DEVICE_NOT_PRESENT", guest.call, method, payload)
            self.assertIn("web", error.detail)
            if payload:
                self.assertEqual(self.client.epitaph(obj), NOT_FOUND)

    def test_guest_calls_before_run(self):
        lifecycle = self.client.open_lifecycle("web")
        lifecycle.create(wire.builtin())
        guest = lifecycle.bind()
        self.guest_error("DEVICE_NOT_PRESENT", guest.console)
        guest.serial().close()

    def test_epitaphs_reach_every_client(self):
        guest = self.client.launch("web", wire.builtin())
        others = [self.daemon.client() for _ in range(5)]
        guests = [guest] + [c.connect("web") for c in others for _ in range(3)]
        self.shell(guest).send("halt")
        for one in guests:
            self.assertEqual(one.epitaph(), 0)

    def test_a_released_guest_gets_no_epitaph(self):
        lifecycle, _, guest = self.running()
        guest.release()
        lifecycle.stop()
        self.client.pump()
        self.assertEqual(self.client.events, [])


class Errors(daemon.Case):
    """GuestErrors by the causes that their names say."""

    def create(self, **config):
        self.client.open_lifecycle("web").create(wire.builtin(**config))

    def test_bad_config(self):
        for config, word in (({"cpus": 0}, "cpus"), ({"cpus": 65}, "cpus"),
                             ({"guest_memory": 0}, "guest_memory"),
                             ({"kernel_type": 9}, "kernel_type"),
                             ({"kernel": "/x"}, "kernel"), ({"dtb_overlay": "/x"}, "dtb"),
                             ({"gpu": 1}, "gpu"), ({"sound": 1}, "sound"),
                             ({"cmdline": "x" * 2048}, "cmdline"), ({"guest_cid": 2}, "cid"),
                             ({"home_core": 64}, "home_core"), ({"virtio_rng": 2}, "rng"),
                             ({"ramdisk": wire.Fd(0)}, "ramdisk")):
            error = self.guest_error("BAD_CONFIG", self.create, **config)
            self.assertIn(word, error.detail)
        for missing in "cpus", "guest_memory", "kernel_type":
            values = {"kernel_type": wire.BUILTIN, "cpus": 1, "guest_memory": 32 << 20}
            del values[missing]
            error = self.guest_error("BAD_CONFIG", self.client.open_lifecycle("web").create,
                                     wire.config_table(**values))
            self.assertIn(missing, error.detail)

    def test_guest_initialization_failure(self):
        self.create()  # so that the helper threads are there
        with self.daemon.limited("NOFILE", len(self.daemon.fds())):
            self.guest_error("GUEST_INITIALIZATION_FAILURE", self.client_create_again)
        self.client_create_again()

    def test_device_initialization_failure(self):
        """One more descriptor each time: first the VM lacks one, then a device does, then none."""
        self.create()
        lifecycle = self.client.open_lifecycle("again")
        devices = wire.builtin(virtio_console=True, virtio_rng=True)
        before, seen = len(self.daemon.fds()), []
        for more in range(64):
            with self.daemon.limited("NOFILE", before + more):
                try:
                    lifecycle.create(devices)
                    break
                except wire.CallError as error:
                    self.assertTrue(error.detail)
                    self.assertEqual(error.domain, wire.GUEST_ERROR)
                    seen.append(wire.GUEST_ERRORS[error.code])
        self.assertIn("DEVICE_INITIALIZATION_FAILURE", seen)
        self.assertEqual(sorted(set(seen), key=seen.index),
                         ["GUEST_INITIALIZATION_FAILURE", "DEVICE_INITIALIZATION_FAILURE"])

    def client_create_again(self):
        if not hasattr(self, "again"):
            self.again = self.client.open_lifecycle("again")
        self.again.create(wire.builtin())

    def test_kernel_load_failure(self):
        lifecycle = self.client.open_lifecycle("web")
        linux = {"kernel_type": wire.LINUX, "cpus": 1, "guest_memory": 32 << 20}
        for kernel in "/no/such/file", "/etc/passwd", "/", "/dev/null":
            error = self.guest_error("KERNEL_LOAD_FAILURE", lifecycle.create,
                                     wire.config_table(kernel=kernel, **linux))
            self.assertIn(kernel, error.detail)
        with open("/dev/null", "rb") as null:
            self.guest_error("KERNEL_LOAD_FAILURE", lifecycle.create,
                             wire.config_table(kernel=wire.Fd(0), **linux), [null.fileno()])
        self.guest_error("NOT_CREATED", self.client.wait, lifecycle.run())

    def test_an_initrd_that_is_larger_than_memory_is_not_read(self):
        lifecycle = self.client.open_lifecycle("web")
        before = self.daemon.status("VmHWM")
        with tempfile.TemporaryFile() as big:
            big.truncate(1 << 30)
            error = self.guest_error("KERNEL_LOAD_FAILURE", lifecycle.create,
                                     wire.builtin(ramdisk=wire.Fd(0)), [big.fileno()])
        self.assertIn(f"the limit is {32 << 20}", error.detail)
        self.assertLess(self.daemon.status("VmHWM") - before, 512 << 10)

    def test_internal_error(self):
        guest = self.client.launch("web", wire.builtin())
        with self.daemon.limited("NOFILE", len(self.daemon.fds())):
            error = self.guest_error("INTERNAL_ERROR", guest.serial)
        self.assertIn("open files", error.detail)
        guest.serial().close()

    def test_descriptors_that_a_config_does_not_name_are_closed(self):
        lifecycle = self.client.open_lifecycle("web")
        before = self.daemon.fds()
        with open("/dev/zero", "rb") as zero:
            self.guest_error("BAD_CONFIG", lifecycle.create, wire.builtin(cpus=0),
                             [zero.fileno()] * 4)
            lifecycle.create(wire.builtin(), [zero.fileno()] * 4)
        self.assertEqual([fd for fd in self.daemon.fds() if "zero" in fd], [])
        lifecycle.stop()
        self.assertEqual(self.daemon.fds(), before)


if __name__ == "__main__":
    daemon.main()
