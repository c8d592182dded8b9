#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ringctl socat and vsock-perf with a real daemon and its embedded guest."""
import json
import os
import random
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
# pylint: disable=wrong-import-position
import daemon
import terminal
import wire

OK, FAILURE, USAGE, NO_GUEST, UNREACHABLE = range(5)
ECHO, DISCARD, SOURCE = 7, 9, 19


class Case(daemon.Case):
    def setUp(self):
        super().setUp()
        self.guest = self.client.launch("web", wire.builtin(virtio_vsock=1))
        self.serial = self.shell(self.guest)

    def command(self, *arguments):
        return [os.environ["RINGCTL"], "--socket", self.daemon.path, *map(str, arguments)]

    def ctl(self, *arguments, status=OK, given=b""):
        done = subprocess.run(self.command(*arguments), input=given, capture_output=True,
                              timeout=120, check=False)
        self.assertEqual(done.returncode, status, (arguments, done.stdout[:200], done.stderr))
        return done.stdout, done.stderr.decode()

    def start(self, *arguments):
        process = subprocess.Popen(self.command(*arguments), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.finish, process)
        return process

    @staticmethod
    def finish(process):
        if process.poll() is None:
            process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe and not pipe.closed:
                pipe.close()
        process.wait()

    def listening(self, port):
        """`socat listen`, once it does."""
        process = self.start("socat", "listen", "web", port)
        sample = 'ringvisor_guest_vsock_listeners{guest="web"} 1\n'
        self.until(lambda: sample in self.client.metrics())
        return process


class Connect(Case):
    def test_the_end_of_the_input_is_passed_on(self):
        """Echo ends its side behind the last byte, which is the end of all."""
        self.assertEqual(self.ctl("socat", "connect", "web", ECHO, given=b"hello\n")[0], b"hello\n")
        self.assertEqual(self.ctl("socat", "connect", "web", ECHO)[0], b"")
        self.assertEqual(self.ctl("socat", "connect", "web", DISCARD, given=b"x" * 300000)[0], b"")

    def test_every_byte(self):
        data = random.Random(5).randbytes(5 << 20)
        self.assertTrue(self.ctl("socat", "connect", "web", ECHO, given=data)[0] == data)

    def test_the_guests_end_leaves_the_input_open(self):
        """The guest sends its text and its end at once; what is typed later still gets there."""
        self.serial.send("vsock listen 5000 first")
        self.serial.expect(b"vsock listening")
        process = self.start("socat", "connect", "web", 5000)
        self.assertEqual(process.stdout.read(), b"first", "up to the end")
        process.stdin.write(b"second")
        process.stdin.close()
        self.assertEqual(process.wait(60), OK)
        self.assertIn(b"received=6 text=second", self.serial.expect(daemon.PROMPT))

    def test_a_reader_that_has_enough(self):
        process = self.start("socat", "connect", "web", SOURCE)
        self.assertEqual(len(process.stdout.read(100000)), 100000)
        process.stdout.close()
        self.assertEqual(process.wait(60), -13, "SIGPIPE, as any program")
        self.until(lambda: b"connections=0" in self.serial.command("vsock stat"))

    def test_a_guest_that_hangs_up(self):
        process = self.start("socat", "connect", "web", ECHO)
        process.stdin.write(b"x")
        process.stdin.flush()
        self.assertEqual(process.stdout.read(1), b"x")
        self.serial.command("vsock stop")
        self.assertEqual(process.stdout.read(), b"")
        self.assertEqual(process.wait(60), OK, "the input had no more to say")

    def test_a_guest_that_hangs_up_before_all_is_said(self):
        """What it has said by then lies in the pipe: it is stopped meanwhile."""
        self.serial.send("vsock listen 5000 text")
        self.serial.expect(b"vsock listening")
        process = self.start("socat", "connect", "web", 5000)
        self.assertEqual(process.stdout.read(4), b"text")
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        # Past the file's buffer: what stayed in that would fail once more when it is closed.
        os.write(process.stdin.fileno(), bytes(4096))
        self.client.force_shutdown("web")
        process.send_signal(signal.SIGCONT)
        self.assertEqual(process.wait(60), FAILURE)
        self.assertIn(b"not taken all of the input", process.stderr.read())

    def test_errors(self):
        self.assertIn("refused the connection to its port 4000",
                      self.ctl("socat", "connect", "web", 4000, status=FAILURE)[1])
        self.assertIn("nobody is not running",
                      self.ctl("socat", "connect", "nobody", ECHO, status=NO_GUEST)[1])
        self.client.launch("bare", wire.builtin())
        self.assertIn("did not ask for virtio_vsock",
                      self.ctl("socat", "connect", "bare", ECHO, status=FAILURE)[1])
        out, _ = self.ctl("socat", "connect", "web", 4000, "--json", status=FAILURE)
        self.assertEqual(json.loads(out)["error"]["name"], "CONNECTION_REFUSED")
        self.serial.command("vsock stop")
        self.assertIn("within 5 s", self.ctl("socat", "connect", "web", ECHO, status=FAILURE)[1])

    def test_on_a_terminal(self):
        with terminal.Terminal(self.command("socat", "connect", "web", ECHO)) as term:
            term.expect(b"Ctrl-A x leaves")
            self.until(term.is_raw)
            term.type(b"one\r")
            term.expect(b"one\r")
            term.type(b"\x01x")
            self.assertEqual(term.wait(), OK)
            self.assertEqual(term.settings(), term.before)
        self.until(lambda: b"connections=0" in self.serial.command("vsock stat"))

    def test_the_terminal_is_restored(self):
        for number in terminal.SIGNALS:
            with self.subTest(number), \
                    terminal.Terminal(self.command("socat", "connect", "web", ECHO)) as term:
                term.expect(b"Ctrl-A x leaves")
                self.until(term.is_raw)
                term.type(b"x")
                term.expect(b"x")
                term.send_signal(number)
                self.assertEqual(term.wait(), -number)
                self.assertEqual(term.settings(), term.before)
        with terminal.Terminal(self.command("socat", "connect", "web", ECHO)) as term:
            term.expect(b"Ctrl-A x leaves")
            self.daemon.process.kill()
            self.assertEqual(term.wait(), UNREACHABLE)
            self.assertEqual(term.settings(), term.before)
        self.daemon.process.wait()


class Listen(Case):
    def test_one_connection(self):
        process = self.listening(6000)
        self.serial.send("vsock connect 6000 from guest")
        out, _ = process.communicate(b"from host", timeout=60)
        self.assertEqual((process.returncode, out), (OK, b"from guest"))
        self.assertIn(b"received=9 text=from host", self.serial.expect(daemon.PROMPT))
        self.assertIn(b"connection refused", self.serial.command("vsock connect 6000 again"))

    def test_a_port_that_has_a_listener(self):
        self.listening(6000)
        self.assertIn("has a listener already",
                      self.ctl("socat", "listen", "web", 6000, status=FAILURE)[1])

    def test_the_guest_ends_first(self):
        process = self.listening(6000)
        self.client.force_shutdown("web")
        self.assertEqual(process.wait(60), FAILURE)
        self.assertIn(b"nobody connected", process.stderr.read())

    def test_the_daemon_ends_first(self):
        process = self.listening(6000)
        self.daemon.process.kill()
        self.daemon.process.wait()
        self.assertEqual(process.wait(60), UNREACHABLE)


class Perf(Case):
    FEW = ("--count", 50, "--bytes", "256k")

    def test_table(self):
        out = self.ctl("vsock-perf", "web", *self.FEW)[0].decode()
        for word in ("Min", "25%", "50%", "75%", "99%", "99.9%", "Max", "to-guest", "from-guest"):
            self.assertIn(word, out)

    def test_json(self):
        out = json.loads(self.ctl("vsock-perf", "web", "--json", *self.FEW)[0])
        self.assertEqual([(e["streams"], e["bytes"], e["count"]) for e in out["latency"]],
                         [(1, 1, 50), (5, 1, 250), (1, 4096, 50), (5, 4096, 250)])
        for entry in out["latency"]:
            values = [entry[f"{name}-ns"] for name in
                      ("min", "p25", "p50", "p75", "p99", "p99.9", "max")]
            self.assertEqual(values, sorted(values))
            self.assertGreater(values[0], 0)
        self.assertEqual(
            [(e["streams"], e["direction"], e["bytes"]) for e in out["throughput"]],
            [(n, way, n << 18) for way in ("to-guest", "from-guest", "echo") for n in (1, 5)])
        for entry in out["throughput"]:
            self.assertAlmostEqual(entry["bytes-per-second"] * entry["time-ns"] / 1e9,
                                   entry["bytes"], delta=entry["bytes"] / 100)
        self.until(lambda: b"connections=0" in self.serial.command("vsock stat"))

    def test_other_data_is_found(self):
        """Echo instead of source sends nothing; source instead of echo sends what was not sent."""
        err = self.ctl("vsock-perf", "web", "--echo-port", SOURCE, *self.FEW, status=FAILURE)[1]
        self.assertRegex(err, r"round trips, port 19: stream 0: byte \d+ is 0x")
        err = self.ctl("vsock-perf", "web", "--discard-port", ECHO, *self.FEW, status=FAILURE)[1]
        self.assertIn("more than 0 bytes came", err)

    def test_ports(self):
        err = self.ctl("vsock-perf", "web", "--source-port", 4000, *self.FEW, status=FAILURE)[1]
        self.assertIn("refused the connection to its port 4000", err)
        self.ctl("vsock-perf", "web", "--count", 0, status=USAGE)
        self.ctl("vsock-perf", "web", "--bytes", "none", status=USAGE)


if __name__ == "__main__":
    daemon.main()
