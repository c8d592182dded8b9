#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""GuestLifecycle: every call in every state, and the reference's own tests by their names."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

INTERNAL, BAD_STATE = 1, 7


class States(daemon.Case):
    """The table of conformance.md: call × none, created, running."""

    def setUp(self):
        super().setUp()
        self.lifecycle = self.client.open_lifecycle("web")

    def create(self, **config):
        self.lifecycle.create(wire.builtin(**config))

    def created(self):
        self.create()
        return self.lifecycle.bind()

    def run_it(self):
        guest = self.created()
        run = self.lifecycle.run()
        guest.serial().close()  # answered behind Bind, and Run is behind that
        self.until(lambda: self.status("web") == "RUNNING")
        return guest, run

    def test_create_in_none(self):
        self.assertEqual(self.status("web"), "NOT_STARTED")
        self.create()
        self.assertEqual(self.status("web"), "STARTING")

    def test_create_in_none_may_fail_and_leaves_none(self):
        self.guest_error("BAD_CONFIG", self.create, guest_memory=0)
        self.guest_error("NOT_CREATED", self.client.wait, self.lifecycle.run())

    def test_create_in_created_destroys_the_old(self):
        old = self.created()
        self.create(cpus=2)
        self.assertEqual(old.epitaph(), INTERNAL)
        self.assertEqual(self.client.get_info("web")["num_cpus"], 2)

    def test_create_in_created_that_fails_leaves_none(self):
        old = self.created()
        self.guest_error("BAD_CONFIG", self.create, cpus=0)
        self.assertEqual(old.epitaph(), INTERNAL)
        self.guest_error("NOT_CREATED", self.client.wait, self.lifecycle.run())

    def test_create_in_running(self):
        guest, run = self.run_it()
        self.guest_error("ALREADY_RUNNING", self.create)
        self.assertTrue(self.client.is_pending(run))
        self.assertIn(b"ok", self.shell(guest).command("echo ok"))

    def test_bind_in_none(self):
        guest = self.lifecycle.bind()
        self.assertEqual(guest.epitaph(), BAD_STATE)

    def test_bind_in_created_any_number(self):
        self.created()
        for _ in range(20):
            self.lifecycle.bind().serial().close()

    def test_bind_in_running_any_number(self):
        self.run_it()
        for _ in range(20):
            self.lifecycle.bind().serial().close()

    def test_bind_after_the_end(self):
        guest, run = self.run_it()
        self.shell(guest).send("halt")
        self.client.wait(run)
        self.assertEqual(self.lifecycle.bind().epitaph(), BAD_STATE)

    def test_run_in_none(self):
        self.guest_error("NOT_CREATED", self.client.wait, self.lifecycle.run())

    def test_run_in_created_is_pending(self):
        _, run = self.run_it()
        self.assertTrue(self.client.is_pending(run))

    def test_run_in_running(self):
        guest, run = self.run_it()
        self.guest_error("ALREADY_RUNNING", self.client.wait, self.lifecycle.run())
        self.assertTrue(self.client.is_pending(run))
        self.shell(guest).send("halt")
        self.client.wait(run)

    def test_stop_in_none(self):
        self.lifecycle.stop()

    def test_stop_in_created(self):
        guest = self.created()
        self.lifecycle.stop()
        self.assertEqual(guest.epitaph(), INTERNAL)
        self.guest_error("NOT_CREATED", self.client.wait, self.lifecycle.run())

    def test_stop_in_running(self):
        guest, run = self.run_it()
        self.lifecycle.stop()
        self.guest_error("CONTROLLER_FORCED_HALT", self.client.wait, run)
        self.assertEqual(guest.epitaph(), INTERNAL)
        self.assertEqual(self.status("web"), "STOPPED")

    def test_stop_replies_after_the_teardown(self):
        before = self.daemon.fds(), self.daemon.status("Threads")
        self.run_it()
        self.lifecycle.stop()
        after = self.daemon.fds(), self.daemon.status("Threads")
        self.assertFalse([fd for fd in after[0] if "kvm-" in fd or "memfd" in fd], after)
        self.assertFalse([fd for fd in before[0] if "kvm-v" in fd], before)

    def test_every_end_needs_a_new_create(self):
        guest, run = self.run_it()
        self.shell(guest).send("halt")
        self.client.wait(run)
        self.guest_error("NOT_CREATED", self.client.wait, self.lifecycle.run())
        self.run_it()

    def test_cycles(self):
        for _ in range(10):
            _, run = self.run_it()
            self.lifecycle.stop()
            self.guest_error("CONTROLLER_FORCED_HALT", self.client.wait, run)


class Ends(daemon.Case):
    """How Run ends."""

    def end_by(self, command):
        _, run, guest = self.running()
        self.shell(guest).send(command)
        return run, guest

    def test_power_off_is_ok(self):
        run, guest = self.end_by("halt")
        self.client.wait(run)
        self.assertEqual(guest.epitaph(), 0)
        info = self.client.get_info("web")
        self.assertEqual(info["detected_problems"], [])
        self.assertNotIn("stop_error", info)

    def test_reboot_is_ok_and_told_apart(self):
        for command in "reboot", "crash triple":
            run, guest = self.end_by(command)
            self.client.wait(run)
            self.assertEqual(guest.epitaph(), 0)
            info = self.client.get_info("web")
            self.assertIn("reboot", info["detected_problems"][0])
            self.assertNotIn("stop_error", info)

    def test_vcpu_failure(self):
        run, guest = self.end_by("crash mmio-exec")
        error = self.guest_error("VCPU_RUNTIME_FAILURE", self.client.wait, run)
        self.assertRegex(error.detail, r"(?i)rip.*0x[0-9a-f]+")
        self.assertEqual(guest.epitaph(), INTERNAL)
        self.assertEqual(self.client.get_info("web")["stop_error"], 12)

    def test_unclaimed_accesses_are_no_failure(self):
        _, run, guest = self.running()
        shell = self.shell(guest)
        self.assertIn(b"exits pio-read", shell.command("exits pio-read 10 0x2f8"))
        self.assertIn(b"exits mmio-write", shell.command("exits mmio-write 10"))
        self.assertTrue(self.client.is_pending(run))


class Reference(daemon.Case):
    """The tests that the reference has, with their names and their meaning."""

    def test_GuestLifecycleChannelDisconnected(self):
        other = self.daemon.client()
        lifecycle = other.open_lifecycle("web")
        lifecycle.create(wire.builtin())
        lifecycle.run()
        other.pump()
        other.close()
        self.daemon.clients.remove(other)
        self.until(lambda: not self.client.list())  # the slot, guest and all
        self.assertFalse([fd for fd in self.daemon.fds() if "kvm-v" in fd])

    def test_RecreatingNonRunningGuestDestroysVmm(self):
        lifecycle = self.client.open_lifecycle("web")
        lifecycle.create(wire.builtin())
        first = lifecycle.bind()
        lifecycle.create(wire.builtin())
        self.assertEqual(first.epitaph(), INTERNAL)
        second = lifecycle.bind()
        second.serial().close()

    def test_RecreatingRunningGuestRequiresStop(self):
        lifecycle, run, guest = self.running()
        self.guest_error("ALREADY_RUNNING", lifecycle.create, wire.builtin())
        lifecycle.stop()
        self.guest_error("CONTROLLER_FORCED_HALT", self.client.wait, run)
        self.assertEqual(guest.epitaph(), INTERNAL)
        lifecycle.create(wire.builtin())

    def test_GuestLifecycleCreateNotCalled(self):
        lifecycle = self.client.open_lifecycle("web")
        self.guest_error("NOT_CREATED", self.client.wait, lifecycle.run())

    def test_GuestLifecycleAlreadyRunning(self):
        lifecycle, first, guest = self.running()
        self.guest_error("ALREADY_RUNNING", self.client.wait, lifecycle.run())
        self.assertTrue(self.client.is_pending(first))
        self.shell(guest).send("halt")
        self.client.wait(first)

    def test_RunFailureDoesntSetCallbackAndDestroysVmm(self):
        self.become_nobody()
        lifecycle = self.client.open_lifecycle("web")
        lifecycle.create(wire.builtin())
        guest = lifecycle.bind()
        guest.serial().close()
        with self.without_threads():
            self.guest_error("VCPU_START_FAILURE", self.client.wait, lifecycle.run())
        self.assertEqual(guest.epitaph(), INTERNAL)
        self.guest_error("NOT_CREATED", self.client.wait, lifecycle.run())
        lifecycle.create(wire.builtin())
        run = lifecycle.run()
        self.shell(lifecycle.bind()).send("halt")
        self.client.wait(run)

    def test_StopWithoutGuestCreation(self):
        self.client.open_lifecycle("web").stop()

    def test_StopWithoutGuestRunning(self):
        lifecycle = self.client.open_lifecycle("web")
        lifecycle.create(wire.builtin())
        lifecycle.stop()

    def test_ForcedShutdownReturnsError(self):
        lifecycle, run, _ = self.running()
        lifecycle.stop()
        self.guest_error("CONTROLLER_FORCED_HALT", self.client.wait, run)

    def test_CleanGuestInitiatedShutdownReturnsSuccess(self):
        _, run, guest = self.running()
        self.shell(guest).send("halt")
        self.client.wait(run)
        self.assertEqual(guest.epitaph(), 0)

    def test_ForceRestartGuestInRealm(self):
        for _ in range(3):
            lifecycle, run, guest = self.running()
            self.shell(guest)
            lifecycle.stop()
            self.guest_error("CONTROLLER_FORCED_HALT", self.client.wait, run)
            self.assertEqual(guest.epitaph(), INTERNAL)


if __name__ == "__main__":
    daemon.main()
