#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Guest.GetConsole: one stream for all, kept until the first reader, never in anybody's way."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

KEPT = 65536


def count(start, size):
    """Bytes of what `console send` sends: byte i is i mod 256."""
    return bytes((start + i) % 256 for i in range(size))


class Console(daemon.Case):
    def console(self, guest):
        sock = guest.console()
        sock.settimeout(daemon.PATIENCE)
        self.addCleanup(sock.close)
        return sock

    def receive(self, sock, size):
        data = b""
        while len(data) < size:
            part = sock.recv(size - len(data))
            self.assertTrue(part, f"the end came after {len(data)} bytes")
            data += part
        return data

    def start(self):
        """A running guest with a console: its Guest and its shell."""
        _, _, guest = self.running(virtio_console=1)
        return guest, self.shell(guest)

    def test_output_and_input(self):
        guest, shell = self.start()
        console = self.console(guest)
        shell.send("console echo 1000")
        data = os.urandom(1000)
        console.sendall(data)
        self.assertEqual(self.receive(console, 1000), data)
        self.assertIn(b"VERDICT console ok", shell.expect(daemon.PROMPT))

    def test_every_handle_is_of_one_stream(self):
        guest, shell = self.start()
        first, second = self.console(guest), self.console(guest)
        shell.send("console send 2000")
        self.assertEqual(self.receive(second, 1000), count(0, 1000))
        self.assertEqual(self.receive(first, 1000), count(1000, 1000))
        shell.expect(daemon.PROMPT)
        second.close()
        shell.send("console send 500")
        self.assertEqual(self.receive(first, 500), count(0, 500))

    def test_the_oldest_output_is_kept_for_the_first_reader(self):
        guest, shell = self.start()
        self.assertIn(b"VERDICT console ok", shell.command("console send 200000"))
        console = self.console(guest)
        self.assertEqual(self.receive(console, KEPT), count(0, KEPT))
        shell.send("console send 10")
        self.assertEqual(self.receive(console, 10), count(0, 10))

    def test_console_before_run(self):
        lifecycle = self.client.open_lifecycle("web")
        lifecycle.create(wire.builtin(virtio_console=1, cmdline="run=console send 100"))
        console = self.console(lifecycle.bind())
        lifecycle.run()
        self.assertEqual(self.receive(console, 100), count(0, 100))

    def test_a_reader_that_does_not_read_is_told_of_and_harms_nobody(self):
        guest, shell = self.start()
        console = self.console(guest)
        shell.send("console send 5000000")
        self.until(lambda: self.client.get_info("web").get("detected_problems"))
        info = self.client.get_info("web")
        self.assertIn("nobody reads", info["detected_problems"][0])
        self.client.info()
        self.assertEqual(self.receive(console, 5000000), count(0, 256) * 19531 + count(0, 64))
        self.assertIn(b"VERDICT console ok", shell.expect(daemon.PROMPT))
        self.assertFalse(self.client.get_info("web").get("detected_problems"))

    def test_a_client_that_shuts_it_down_harms_only_those_there(self):
        guest, shell = self.start()
        first = self.console(guest)
        first.shutdown(2)
        self.assertIn(b"VERDICT console ok", shell.command("console send 1000"))
        second = self.console(guest)
        shell.send("console echo 9")
        second.sendall(b"echo this")
        self.assertEqual(self.receive(second, 9), b"echo this")

    def test_the_end_can_be_read(self):
        lifecycle = self.client.open_lifecycle("web")
        lifecycle.create(wire.builtin(virtio_console=1, cmdline="run=console send 30000;halt"))
        console = self.console(lifecycle.bind())  # once it runs the guest may have ended already
        self.client.wait(lifecycle.run())
        self.assertEqual(self.receive(console, 30000), count(0, 30000))
        self.assertEqual(console.recv(1), b"")
        lifecycle.stop()


if __name__ == "__main__":
    daemon.main()
