#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Host: Launch, ForceShutdown, Connect, GetInfo, List, Info, and who owns which guest."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

INTERNAL = 1
DESCRIPTOR = {"num_cpus", "guest_memory", "devices"}


class Manager(daemon.Case):
    def launch(self, name="web", client=None, **config):
        return (client or self.client).launch(name, wire.builtin(**config))

    def test_launch_runs_the_guest(self):
        guest = self.launch(cpus=2)
        self.assertEqual(self.status("web"), "RUNNING")
        self.assertIn(b"cpus: 2 of 2 run", self.shell(guest).command("cpu"))
        self.assertEqual(self.client.get_info("web")["num_cpus"], 2)

    def test_launch_while_started(self):
        guest = self.launch()
        self.manager_error("ALREADY_RUNNING", self.launch)
        self.assertIn(b"ok", self.shell(guest).command("echo ok"))
        lifecycle = self.client.open_lifecycle("other")
        lifecycle.create(wire.builtin())
        self.manager_error("ALREADY_RUNNING", self.launch, "other")

    def test_launch_again_after_the_end(self):
        for end, epitaph in ("halt", 0), ("crash mmio-exec", INTERNAL), ("reboot", 0):
            guest = self.launch()
            self.shell(guest).send(end)
            self.assertEqual(guest.epitaph(), epitaph)
            self.assertEqual(self.status("web"), "STOPPED")
        self.launch()

    def test_launch_of_a_bad_config(self):
        for config in (wire.builtin(cpus=0), wire.builtin(kernel_type=77),
                       wire.builtin(kernel="/vmlinux"), wire.config_table(),
                       wire.builtin(home_core=1000), wire.builtin(wayland=1),
                       wire.table([(7, b"\1"), (7, b"\1")]), wire.table([(99, b"")]),
                       wire.builtin(virtio_vsock=1, vsock_listeners=[(9, 1), (9, 2)])):
            self.manager_error("BAD_CONFIG", self.client.launch, "web", config)
        self.assertEqual(self.status("web"), "NOT_STARTED")
        self.assertEqual(self.client.epitaph(self.client.next_id), 4)

    def test_launch_that_create_refuses(self):
        error = self.manager_error("START_FAILURE", self.client.launch, "web", wire.config_table(
            kernel_type=wire.LINUX, cpus=1, guest_memory=32 << 20, kernel="/no/such/kernel"))
        self.assertIn("KERNEL_LOAD_FAILURE", error.detail)
        self.assertIn("/no/such/kernel", error.detail)
        info = self.client.get_info("web")
        self.assertEqual((info["guest_status"], info["stop_error"]), (5, 10))
        self.assertIn("/no/such/kernel", info["detected_problems"][0])
        self.launch()
        self.assertEqual(self.status("web"), "RUNNING")

    def test_launch_whose_run_fails(self):
        self.become_nobody()
        self.launch("first")  # makes the thread that Create needs
        with self.without_threads():
            error = self.manager_error("START_FAILURE", self.launch)
        self.assertRegex(error.detail, "^VCPU_START_FAILURE: .*vCPU 0")
        self.assertEqual(self.client.epitaph(self.client.next_id), INTERNAL)
        info = self.client.get_info("web")
        self.assertEqual((info["guest_status"], info["stop_error"]), (5, 11))
        self.assertIn("vCPU 0", info["detected_problems"][0])
        self.assertEqual(self.status("first"), "RUNNING")
        self.launch()
        self.assertEqual(self.status("web"), "RUNNING")

    def test_a_launched_guest_outlives_its_client(self):
        other = self.daemon.client()
        self.launch(client=other)
        other.close()
        guest = self.client.connect("web")
        self.assertIn(b"ok", self.shell(guest).command("echo ok"))

    def test_a_lifecycle_on_a_launched_guest_may_go(self):
        guest = self.launch()
        lifecycle = self.client.open_lifecycle("web")
        self.guest_error("ALREADY_RUNNING", self.client.wait, lifecycle.run())
        self.guest_error("ALREADY_RUNNING", lifecycle.create, wire.builtin())
        lifecycle.release()
        self.assertIn(b"ok", self.shell(guest).command("echo ok"))

    def test_a_guest_made_anew_by_its_lifecycle_is_no_longer_launched(self):
        self.launch()
        lifecycle = self.client.open_lifecycle("web")
        lifecycle.stop()
        lifecycle.create(wire.builtin())
        lifecycle.release()
        self.until(lambda: not self.client.list())

    def test_force_shutdown(self):
        guest = self.launch()
        self.client.force_shutdown("web")
        self.assertEqual(guest.epitaph(), INTERNAL)
        info = self.client.get_info("web")
        self.assertEqual((info["guest_status"], info["stop_error"]), (5, 15))

    def test_force_shutdown_when_not_started(self):
        self.client.force_shutdown("nobody")
        self.client.open_lifecycle("web")
        self.client.force_shutdown("web")
        self.assertEqual(self.status("web"), "NOT_STARTED")

    def test_connect(self):
        self.launch()
        self.shell(self.client.connect("web"))

    def test_connect_when_not_started(self):
        error = self.manager_error("NOT_RUNNING", self.client.connect, "web")
        self.assertIn("web", error.detail)
        self.assertEqual(self.client.epitaph(self.client.next_id), 7)
        guest = self.launch()
        self.client.force_shutdown("web")
        guest.epitaph()
        self.manager_error("NOT_RUNNING", self.client.connect, "web")

    def test_info_has_what_its_state_allows(self):
        def fields():
            return set(self.client.get_info("web"))

        self.assertFalse(fields() & (DESCRIPTOR | {"uptime_ns", "stop_error"}))
        lifecycle = self.client.open_lifecycle("web")
        self.assertFalse(fields() & (DESCRIPTOR | {"uptime_ns", "stop_error"}))
        lifecycle.create(wire.builtin())
        self.assertGreaterEqual(fields(), DESCRIPTOR | {"uptime_ns"})
        self.assertNotIn("stop_error", fields())
        run = lifecycle.run()
        self.shell(lifecycle.bind())
        info = self.client.get_info("web")
        self.assertEqual((info["num_cpus"], info["guest_memory"], info["devices"]),
                         (1, 32 << 20, []))
        self.assertGreater(info["uptime_ns"], 0)
        self.assertGreater(info["exits"], 0)
        self.assertGreater(info["resident_bytes"], 0)
        lifecycle.stop()
        self.guest_error("CONTROLLER_FORCED_HALT", self.client.wait, run)
        self.assertFalse(fields() & DESCRIPTOR)
        self.assertGreaterEqual(fields(), {"uptime_ns", "stop_error"})
        stopped = self.client.get_info("web")["uptime_ns"]
        self.assertEqual(self.client.get_info("web")["uptime_ns"], stopped)

    def test_list(self):
        self.assertEqual(self.client.list(), [])
        self.launch("b", cpus=2)
        self.launch("a")
        self.client.open_lifecycle("c")
        guests = self.client.list()
        self.assertEqual([(g["name"], g["status"], g["cpus"], g["memory"]) for g in guests],
                         [("a", 3, 1, 32 << 20), ("b", 3, 2, 32 << 20), ("c", 1, 0, 0)])
        self.assertEqual(self.client.info()["guests"], 3)

    def test_a_list_of_many(self):
        names = sorted(f"{'x' * 59}{i:03}" for i in range(250))
        for name in names:
            self.client.open_lifecycle(name)
        self.assertEqual([g["name"] for g in self.client.list()], names)
        self.assertEqual([g["name"] for g in self.daemon.client().list()], names)

    def test_names_run_out(self):
        clients = [self.client, self.daemon.client(), self.daemon.client()]
        for i in range(512):
            clients[i % 3].open_lifecycle(f"{'x' * 59}{i:03}")
        self.refused(wire.STATUS, "NO_RESOURCES", self.client.open_lifecycle, "one-more")
        self.refused(wire.STATUS, "NO_RESOURCES", self.launch, "one-more")
        self.assertEqual(len(self.client.list()), 512)
        clients[1].close()
        self.until(lambda: self.client.info()["guests"] < 512)
        self.client.open_lifecycle("one-more")

    def test_records_of_ended_guests_make_room(self):
        for i in range(530):
            self.client.next_id = 10
            with self.assertRaises(wire.CallError):
                self.client.launch(f"record-{i}", wire.config_table(
                    kernel_type=wire.LINUX, cpus=1, guest_memory=4 << 20, kernel="/none"))
        self.assertLessEqual(self.client.info()["guests"], 512)
        self.assertEqual(self.status("record-529"), "STOPPED")
        self.assertEqual(self.status("record-0"), "NOT_STARTED")

    def test_info_of_the_host(self):
        info = self.client.info()
        self.assertEqual((info["wire_version"], info["cores"], info["guests"]), (1, 1, 0))
        self.assertIn("ringvisor", info["build"])
        self.assertIn("KVM", info["kvm"])

    def test_names(self):
        for name in "a", "0", "-", "a" * 63, "web-1":
            self.client.open_lifecycle(name)
        for name in "", "A", "a" * 64, "a_b", "a b", "ä", "a\0":
            self.refused(wire.STATUS, "INVALID_ARGS", self.client.open_lifecycle, name)
            self.refused(wire.STATUS, "INVALID_ARGS", self.client.get_info, name)
            self.refused(wire.STATUS, "INVALID_ARGS", self.client.launch, name, wire.builtin())
        self.assertEqual(self.client.info()["guests"], 5)

    def test_clients_of_a_slot_share_its_state(self):
        lifecycle, run, _ = self.running()
        other = self.daemon.client()
        same = other.open_lifecycle("web")
        self.until(lambda: self.status("web") == "RUNNING")  # no order among connections
        self.guest_error("ALREADY_RUNNING", other.wait, same.run())
        guest = same.bind()
        lifecycle.release()  # not the last one
        self.assertIn(b"ok", self.shell(guest).command("echo ok"))
        same.stop()
        self.assertEqual(guest.epitaph(), INTERNAL)
        self.guest_error("CONTROLLER_FORCED_HALT", self.client.wait, run)

    def test_the_last_client_takes_the_guest_along_without_epitaph(self):
        lifecycle, _, guest = self.running()
        self.shell(guest)
        lifecycle.release()
        self.until(lambda: not self.client.list())
        self.client.pump()
        self.assertEqual([e for e in self.client.events if e.obj == lifecycle.obj], [])
        self.assertEqual(self.status("web"), "NOT_STARTED")


class TwoCores(daemon.Case):
    """Guests on two reactors; one CPU may run both."""

    ARGUMENTS = ("--cores", ",".join(str(c) for c in sorted(os.sched_getaffinity(0))[:2]))

    def setUp(self):
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("this process may use one CPU only")
        super().setUp()

    def home(self, name):
        for line in self.client.metrics().splitlines():
            if line.startswith(f'ringvisor_guest_cpus{{guest="{name}",reactor="'):
                return int(line.split('"')[3])
        raise AssertionError(f"no guest {name}")

    def test_home_core_is_obeyed(self):
        for core in 0, 1:
            self.client.launch(f"g{core}", wire.builtin(home_core=core))
            self.assertEqual(self.home(f"g{core}"), core)

    def test_the_least_loaded_core_is_taken(self):
        for i in range(4):
            self.client.launch(f"g{i}", wire.builtin())
        homes = [self.home(f"g{i}") for i in range(4)]
        self.assertEqual(sorted(homes), [0, 0, 1, 1])

    def test_a_slot_moves_between_creates(self):
        lifecycle = self.client.open_lifecycle("web")
        for core in 0, 1, 1, 0:
            lifecycle.create(wire.builtin(home_core=core))
            self.assertEqual(self.home("web"), core)
            guest = lifecycle.bind()
            run = lifecycle.run()
            self.shell(guest).send("halt")
            self.client.wait(run)

    def test_a_created_guest_moves(self):
        lifecycle = self.client.open_lifecycle("web")
        lifecycle.create(wire.builtin(home_core=0))
        guest = lifecycle.bind()
        lifecycle.create(wire.builtin(home_core=1))
        self.assertEqual(guest.epitaph(), INTERNAL)
        self.assertEqual(self.home("web"), 1)
        self.shell_of(lifecycle)

    def shell_of(self, lifecycle):
        lifecycle.run()
        self.shell(lifecycle.bind())

    def test_a_running_guest_does_not_move(self):
        lifecycle = self.client.open_lifecycle("web")
        lifecycle.create(wire.builtin(home_core=0))
        self.shell_of(lifecycle)
        self.guest_error("ALREADY_RUNNING", lifecycle.create, wire.builtin(home_core=1))
        self.assertEqual(self.home("web"), 0)

    def test_two_clients_and_two_cores_race_for_a_slot(self):
        other = self.daemon.client()
        mine, theirs = self.client.open_lifecycle("web"), other.open_lifecycle("web")
        for _ in range(20):
            calls = [(c, c.start(l.obj, wire.CREATE, wire.builtin(home_core=core)))
                     for core in (0, 1) for c, l in ((self.client, mine), (other, theirs))]
            for client, txid in calls:
                client.wait(txid)
        mine.stop()


if __name__ == "__main__":
    daemon.main()
