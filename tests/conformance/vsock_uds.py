#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vsock_uds_path as its peers meet it: the name, who may have it, and a guest that does not answer."""
import contextlib
import os
import socket
import stat
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

ANSWER_SECONDS = 5


class VsockUds(daemon.Case):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="rv")
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "v")

    def config(self, path=None):
        """A guest whose driver stays away."""
        return {"virtio_vsock": 1, "vsock_uds_path": path or self.path, "cmdline": "run=vsock stop"}

    def dial(self):
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.settimeout(daemon.PATIENCE)
        sock.connect(self.path)
        return sock

    def test_the_name_comes_and_goes_with_the_guest(self):
        lifecycle, _, _ = self.running(**self.config())
        mode = os.stat(self.path).st_mode
        self.assertTrue(stat.S_ISSOCK(mode))
        self.assertEqual(stat.S_IMODE(mode), 0o600)
        lifecycle.stop()
        self.until(lambda: not os.path.exists(self.path))

    def test_a_guest_without_a_driver_is_waited_for_and_then_not(self):
        self.running(**self.config())
        sock, bad = self.dial(), self.dial()
        start = time.monotonic()
        for piece in (b"CON", b"NECT 7", b"\n"):
            sock.sendall(piece)
        bad.sendall(b"CONNECT somewhere\n")
        self.assertEqual(bad.recv(100), b"")
        self.assertEqual(sock.recv(100), b"")
        self.assertGreaterEqual(time.monotonic() - start, ANSWER_SECONDS - 0.1)

    def test_a_stop_closes_what_waits(self):
        lifecycle, _, _ = self.running(**self.config())
        silent, asking = self.dial(), self.dial()
        asking.sendall(b"CONNECT 7\n")
        lifecycle.stop()
        for sock in silent, asking:
            with contextlib.suppress(ConnectionResetError):  # what it said was not read any more
                self.assertEqual(sock.recv(100), b"")

    def test_a_name_that_another_guest_has(self):
        self.running(**self.config())
        other = self.client.open_lifecycle("other")
        error = self.guest_error("DUPLICATE_PUBLIC_SERVICES", other.create,
                                 wire.builtin(**self.config()))
        self.assertIn(self.path, error.detail)
        self.dial()  # the first one's is unharmed

    def test_a_kernel_that_cannot_be_loaded_is_told_of_first(self):
        self.running(**self.config())
        for path in self.path, self.path + "2":
            config = wire.config_table(kernel_type=wire.LINUX, kernel="/no/such/kernel", cpus=1,
                                       guest_memory=32 << 20, virtio_vsock=1, vsock_uds_path=path)
            self.guest_error("KERNEL_LOAD_FAILURE", self.client.open_lifecycle("other").create,
                             config)
        self.assertFalse(os.path.exists(self.path + "2"))

    def test_a_folder_that_is_not_there(self):
        lifecycle = self.client.open_lifecycle("web")
        path = self.path + "/none/v"
        error = self.guest_error("FAILED_SERVICE_CONNECT", lifecycle.create,
                                 wire.builtin(**self.config(path)))
        self.assertIn(path, error.detail)

    def test_a_socket_left_behind_is_replaced(self):
        old = socket.socket(socket.AF_UNIX)
        old.bind(self.path)
        old.close()
        self.running(**self.config())
        self.dial()


if __name__ == "__main__":
    daemon.main()
