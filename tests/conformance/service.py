#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon as a service: its socket, signals, the service manager's protocols, metrics."""
import fcntl
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import mounts  # noqa: E402
import openmetrics  # noqa: E402
import wire  # noqa: E402

INTERNAL = 1


class Socket(daemon.Case):
    def serve(self, *args, **more):
        """A daemon that is expected to refuse: (status, what it said)."""
        done = subprocess.run([daemon.program(), "serve", *args], stderr=subprocess.PIPE,
                              timeout=daemon.PATIENCE, check=False, text=True, **more)
        return done.returncode, done.stderr

    def test_mode(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.daemon.path).st_mode), 0o600)

    def test_nothing_is_left_behind(self):
        self.daemon.stop()
        self.assertEqual(sorted(os.listdir(self.daemon.folder.name)), ["ready", "stderr"])

    def test_a_second_daemon_is_refused(self):
        status, said = self.serve("--socket", self.daemon.path)
        self.assertEqual(status, 1)
        self.assertIn(self.daemon.path, said)
        self.client.info()

    def test_a_socket_of_somebody_else_is_left_alone(self):
        path = os.path.join(self.daemon.folder.name, "other")
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            other.listen(0)
            status, said = self.serve("--socket", path)
            self.assertEqual(status, 1)
            self.assertIn("another process listens", said)
            self.assertTrue(os.path.exists(path))

    def test_a_file_that_is_no_socket_is_left_alone(self):
        path = os.path.join(self.daemon.folder.name, "file")
        with open(path, "w", encoding="ascii") as file:
            file.write("dear")
        status, said = self.serve("--socket", path)
        self.assertEqual(status, 1)
        self.assertIn("no socket", said)
        with open(path, encoding="ascii") as file:
            self.assertEqual(file.read(), "dear")

    def test_a_stale_socket_is_taken_over(self):
        self.daemon.process.kill()
        self.daemon.process.wait()
        self.assertTrue(os.path.exists(self.daemon.path))
        again = subprocess.Popen(
            [daemon.program(), "serve", "--socket", self.daemon.path],
            env={**os.environ, "NOTIFY_SOCKET": os.path.join(self.daemon.folder.name, "ready")})
        self.daemon.process = again
        self.daemon.wait_ready()
        self.daemon.client().info()

    def test_bad_options(self):
        for args, word in ((["--socket", "/" + "x" * 200], "107"),
                           (["--socket", "/no/such/folder/sock"], "/no/such/folder"),
                           (["--cores", "9999"], "9999"), (["--allow-uid", "bob"], "bob"),
                           (["--poll-us", "-1"], "poll-us"), (["--reclaim", "often"], "pressure"), (["--sockets", "x"], "--socket?"),
                           (["more"], "more"), (["--socket"], "needs a value")):
            status, said = self.serve(*args)
            self.assertIn(status, (1, 2))
            self.assertIn(word, said)

    def check_path(self, path, command, **environment):
        """The command serves at that path, and takes the socket along when it ends."""
        ready = self.daemon.notify.getsockname()
        process = subprocess.Popen(command, env={**os.environ, "NOTIFY_SOCKET": ready,
                                                 **environment})
        ours = self.daemon.process
        try:
            self.daemon.process = process
            self.daemon.wait_ready()
            path = path.format(pid=process.pid)
            self.assertTrue(stat.S_ISSOCK(os.stat(path).st_mode))
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            folder = os.open(os.path.dirname(path), os.O_RDONLY)
            client = wire.Client(path, daemon.PATIENCE)
            self.assertEqual(client.info()["guests"], 0)
            client.close()
            process.terminate()
            self.assertEqual(process.wait(daemon.PATIENCE), 0)
            self.assertEqual([f for f in os.listdir(folder) if f.endswith(".sock")], [])
            os.close(folder)
        finally:
            self.daemon.process = ours
            process.kill()
            process.wait()

    def test_default_path(self):
        command = [daemon.program(), "serve"]
        if os.geteuid() == 0:
            command = daemon.as_nobody(*command)
        with tempfile.TemporaryDirectory() as folder:
            self.check_path(os.path.join(folder, "ringvisor.sock"), command,
                            XDG_RUNTIME_DIR=folder)
            status, said = self.serve_without("XDG_RUNTIME_DIR", command)
        self.assertEqual(status, 1)
        self.assertIn("--socket PATH", said)

    def test_default_path_of_root(self):
        hiding = mounts.hiding(self, "mount -t tmpfs none /run")
        self.check_path("/proc/{pid}/root/run/ringvisor.sock", [*hiding, daemon.program(), "serve"])

    def serve_without(self, variable, command):
        environment = {name: value for name, value in os.environ.items() if name != variable}
        done = subprocess.run(command, stderr=subprocess.PIPE, timeout=daemon.PATIENCE,
                              check=False, text=True, env=environment)
        return done.returncode, done.stderr

    def connect_as(self, path, uid):
        """What a process of that user reads after it connected: b"" if it is closed at once."""
        ours, theirs = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.setuid(uid)
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.settimeout(daemon.PATIENCE)
                    sock.connect(path)
                    sock.send(wire.Message(0, wire.INFO, txid=1).encode())
                    os.write(theirs, b"y" + sock.recv(16))
            except (BrokenPipeError, ConnectionResetError):
                os.write(theirs, b"y")
            finally:
                os._exit(0)
        os.close(theirs)
        os.waitpid(child, 0)
        with os.fdopen(ours, "rb") as pipe:
            return pipe.read()

    def test_other_users(self):
        if os.geteuid():
            self.skipTest("only root can become somebody else")
        with daemon.Daemon("--allow-uid", "12345") as open_to_one:
            for path in self.daemon.path, open_to_one.path:
                os.chmod(path, 0o666)  # what the mode keeps out, the credentials have to
                os.chmod(os.path.dirname(path), 0o755)
            self.assertEqual(self.connect_as(self.daemon.path, 12345), b"y")
            self.assertEqual(self.connect_as(open_to_one.path, 12346), b"y")
            self.assertEqual(len(self.connect_as(open_to_one.path, 12345)), 17)
        self.client.info()


class Signals(daemon.Case):
    def end_by(self, number):
        _, run, guest = self.running()
        self.shell(guest)
        launched = self.client.launch("launched", wire.builtin())
        self.daemon.process.send_signal(number)
        self.guest_error("CONTROLLER_FORCED_HALT", self.client.wait, run)
        self.assertEqual(guest.epitaph(), INTERNAL)
        self.assertEqual(launched.epitaph(), INTERNAL)
        with self.assertRaises(wire.Disconnected):
            self.client.recv()
        self.assertEqual(self.daemon.process.wait(daemon.PATIENCE), 0)
        self.assertEqual(self.daemon.said(), "")

    def test_sigterm(self):
        self.end_by(signal.SIGTERM)

    def test_sigint(self):
        self.end_by(signal.SIGINT)

    def test_sigterm_in_the_middle_of_things(self):
        for moment in range(8):
            with daemon.Daemon() as other:
                client = other.client()
                for i in range(moment):
                    name = f"g{i}"
                    obj = client.new_id()
                    client.start(0, wire.LAUNCH, wire.Writer().u32(obj).u32(0).string(name)
                                 .raw(wire.builtin()).data)
                other.stop()

    def test_sighup_is_harmless(self):
        for _ in range(3):
            self.daemon.process.send_signal(signal.SIGHUP)
            self.client.info()

    def test_sigterm_twice(self):
        self.running()
        self.daemon.process.send_signal(signal.SIGTERM)
        self.daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.daemon.process.wait(daemon.PATIENCE), 0)

    def test_a_client_that_does_not_read_does_not_hold_up_the_end(self):
        deaf = self.daemon.raw()
        self.addCleanup(deaf.close)
        for txid in range(1, 5000):
            deaf.sendall(wire.Message(0, wire.INFO, txid=txid).encode())
        self.daemon.stop()


class Handover(daemon.Case):
    def start(self, listening, environment):
        """A daemon to which descriptor 3 is handed over, as a service manager does."""
        code = ("import os, sys\n"
                "os.dup2(int(sys.argv[1]), 3)\n"
                "os.environ['LISTEN_PID'] = str(os.getpid())\n"
                "os.execv(sys.argv[2], sys.argv[2:])\n")
        ready = os.path.join(self.daemon.folder.name, "ready")
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(listening), daemon.program(), "serve"],
            pass_fds=[listening], stderr=subprocess.PIPE, text=True,
            env={**os.environ, "NOTIFY_SOCKET": ready, "LISTEN_FDS": "1", **environment})
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_a_socket_that_was_handed_over_is_used(self):
        path = os.path.join(self.daemon.folder.name, "given")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen()
            client = wire.Client(path, daemon.PATIENCE)  # before anybody accepts
            self.addCleanup(client.close)
            process = self.start(listening.fileno(), {})
        try:
            self.assertEqual(client.info()["wire_version"], 1)
        finally:
            process.terminate()
            said = process.communicate(timeout=daemon.PATIENCE)[1]
        self.assertEqual((process.returncode, said), (0, ""))
        self.assertTrue(os.path.exists(path))  # it is the manager's

    def test_more_or_other_descriptors_are_refused(self):
        with socket.socket(socket.AF_UNIX) as unbound:
            for environment, word in (({"LISTEN_FDS": "2"}, "takes one socket"),
                                      ({}, "no listening stream socket")):
                process = self.start(unbound.fileno(), environment)
                said = process.communicate(timeout=daemon.PATIENCE)[1]
                self.assertEqual(process.returncode, 1)
                self.assertIn(word, said)

    def test_ready_and_stopping_are_told(self):
        self.daemon.stop()  # Daemon itself has waited for READY=1
        self.assertEqual(self.daemon.notify.recv(100), b"STOPPING=1")


class Metrics(daemon.Case):
    def families(self):
        return openmetrics.parse(self.client.metrics())

    def test_form_and_families(self):
        for state in "none", "created", "running", "stopped":
            with self.subTest(state):
                if state == "created":
                    lifecycle = self.client.open_lifecycle("web")
                    lifecycle.create(wire.builtin(cpus=2))
                elif state == "running":
                    run = lifecycle.run()
                    self.shell(lifecycle.bind())
                elif state == "stopped":
                    lifecycle.stop()
                    self.guest_error("CONTROLLER_FORCED_HALT", self.client.wait, run)
                families = self.families()
                for name in ("reactor_ring_depth", "guest_exits", "guest_kicks", "guest_irqs",
                             "guest_queue_depth", "guest_mailbox_depth",
                             "guest_serial_dropped_bytes", "guest_resident_memory_bytes",
                             "guest_memory_bytes"):
                    self.assertIn("ringvisor_" + name, families)

    def test_queue_depth(self):
        """A console that waits for input holds the driver's buffers."""
        _, _, guest = self.running("web-1", virtio_console=True)
        shell = self.shell(guest)

        def depth():
            return self.families()["ringvisor_guest_queue_depth"].value(guest="web-1")

        self.assertEqual(depth(), 0)
        guest.console().close()
        shell.send("console echo")
        self.until(lambda: depth() > 0)

    def test_values(self):
        _, _, guest = self.running("web-1", cpus=2)
        shell = self.shell(guest)
        before = self.families()
        shell.command("exits pio-read 100")
        after = self.families()

        def value(families, name, **labels):
            return families["ringvisor_" + name].value(guest="web-1", **labels)

        self.assertGreaterEqual(value(after, "guest_exits", reason="io"),
                                value(before, "guest_exits", reason="io") + 100)
        self.assertEqual(value(after, "guest_memory_bytes"), 32 << 20)
        self.assertEqual(value(after, "guest_cpus", reactor="0"), 2)
        self.assertGreater(value(after, "guest_resident_memory_bytes"), 0)
        self.assertGreater(value(after, "guest_serial_output_bytes"), 50)
        status = after["ringvisor_guest_status"]
        self.assertEqual(status.value(guest="web-1", ringvisor_guest_status="running"), 1)
        self.assertEqual(status.value(guest="web-1", ringvisor_guest_status="stopped"), 0)

    def test_memory_devices(self):
        """Guests without such devices have no samples of theirs."""
        self.client.launch("plain", wire.builtin())
        _, _, guest = self.running("web-1", guest_memory=64 << 20, virtio_balloon=1, virtio_mem=1,
                                   virtio_mem_region_size=64 << 20)
        shell, mem, balloon = self.shell(guest), guest.mem(), guest.balloon()

        def values(*names):
            families = self.families()
            for name, family in families.items():
                if name.startswith(("ringvisor_guest_balloon", "ringvisor_guest_mem_")):
                    guests = {dict(labels)["guest"] for _, labels in family.samples}
                    self.assertLessEqual(guests, {"web-1"}, name)
            return [families["ringvisor_guest_" + name].value(guest="web-1") for name in names]

        self.assertEqual(values("balloon_actual_bytes", "balloon_target_bytes",
                                "balloon_reclaim_bytes", "balloon_discards", "mem_plugged_bytes",
                                "mem_requested_bytes", "mem_discards"), [0] * 7)
        self.assertFalse(
            self.families()["ringvisor_guest_balloon_statistics_age_seconds"].samples)
        balloon.request(100)
        mem.request(8 << 20)
        shell.command("hotplug plug 0 3")
        shell.command("hotplug unplug 0 1")
        shell.command("balloon inflate 1000")
        shell.command("balloon report 512")
        self.until(lambda: values("balloon_discarded_bytes") == [4096000 + 512 * 4096])
        self.assertEqual(values("balloon_actual_bytes", "balloon_target_bytes", "mem_plugged_bytes",
                                "mem_requested_bytes", "mem_region_bytes", "mem_requests",
                                "balloon_reported_bytes", "balloon_discarded_bytes"),
                         [4096000, 409600, 4 << 20, 8 << 20, 64 << 20, 2, 512 * 4096,
                          4096000 + 512 * 4096])
        self.assertGreaterEqual(min(values("balloon_discards", "mem_discards")), 1)
        self.assertGreaterEqual(values("mem_discarded_bytes")[0], 2 << 20)
        self.assertEqual(values("balloon_discard_failures"), [0])
        shell.send("balloon serve")
        self.assertEqual(balloon.stats()[0], 0)
        self.assertLess(values("balloon_statistics_age_seconds")[0], 60)
        self.assertNotIn("ringvisor_reclaim_events", self.families(), "it is off")

    def test_the_file_is_sealed(self):
        (fd,) = self.client.call(0, wire.METRICS).fds
        try:
            seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
            self.assertEqual(seals & (fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW),
                             fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW)
            self.assertRegex(os.read(fd, 100), re.compile(rb"^# TYPE ringvisor_"))
        finally:
            os.close(fd)


if __name__ == "__main__":
    daemon.main()
