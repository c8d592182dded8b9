# SPDX-License-Identifier: Apache-2.0
"""A Linux guest of a daemon, for tests that look at both sides: the guest's shell on GetConsole, and
the daemon's calls.

    with DaemonGuest(args, "name", ["obey.sh"], ["vsock_peer"], memory_mib=128, virtio_rng=1) as guest:
        guest.start()
        guest.obey("head -c 16 /dev/hwrng | wc -c")

What the guest runs are lines for guest/obey.sh; what they print comes back without the carriage
returns of the console.
"""
import os
import sys
import tempfile
import time

import linux_guest
from linux_guest import BOOT_SECONDS, EXIT_SECONDS, STEP_SECONDS, Failure

sys.path.insert(0, os.path.join(linux_guest.HERE, "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

NAME = "linux"
OK = 0


def expect_equal(what, got, wanted):
    if got != wanted:
        raise Failure(f"{what} is {got!r}, not {wanted!r}")


def wait_until(what, condition, seconds=STEP_SECONDS):
    """Asks again and again, for things of which nobody is told."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"{what} did not come to pass within {seconds} s")
        time.sleep(0.05)


class DaemonGuest:
    """One guest of a daemon of its own; `start` it as often as it ends. The console is on virtio.

    `programs` are names of static programs in the folder args.programs; `uds` is a name for the
    vsock's Unix socket, whose path is then .uds."""

    def __init__(self, args, log, scripts, programs=(), cmdline="", memory_mib=128, uds=None,
                 **devices):
        linux_guest.require_kvm()
        os.makedirs(args.logs, exist_ok=True)
        os.environ["RINGVISOR"] = args.ringvisor
        self.folder = tempfile.TemporaryDirectory(prefix="rv")
        if uds:
            self.uds = devices["vsock_uds_path"] = os.path.join(self.folder.name, uds)
        files = [(os.path.join(args.programs, name), f"/bin/{name}") for name in programs]
        initrd = linux_guest.make_initramfs(
            os.path.join(self.folder.name, "initramfs"),
            [os.path.join(linux_guest.HERE, "guest", name) for name in scripts], files)
        self.config = wire.config_table(
            kernel_type=wire.LINUX, kernel=linux_guest.kernel_path("vmlinux"), ramdisk=initrd,
            cmdline=linux_guest.command_line(cmdline, console="hvc0"), cpus=1,
            guest_memory=memory_mib << 20, virtio_console=1, **devices)
        self.log = open(os.path.join(args.logs, log), "wb")
        self.daemon = daemon.Daemon()
        self.client = self.daemon.client(EXIT_SECONDS)
        self.lifecycle = self.client.open_lifecycle(NAME)
        self.socket = None

    def __enter__(self):
        self.daemon.__enter__()
        return self

    def __exit__(self, *error):
        try:
            self.daemon.__exit__(*error)
        finally:
            if self.socket:
                self.socket.close()
            self.log.close()
            self.folder.cleanup()

    def start(self):
        """Creates and runs the guest and waits for its process 1."""
        self.lifecycle.create(self.config)
        self.guest = self.lifecycle.bind()
        self.attach()
        self.run = self.lifecycle.run()
        self.console.expect("Run /init as init process", BOOT_SECONDS)

    def attach(self):
        """Another handle on the console takes the place of the one that was."""
        if self.socket:
            self.socket.close()
        self.socket = self.guest.console()
        self.console = linux_guest.Console(self.socket.fileno(), self.socket.fileno(), self.log)

    def info(self):
        return self.client.get_info(NAME)

    def resident(self):
        """Bytes of the guest's memory that the host holds, as the daemon counts them."""
        return self.info()["resident_bytes"]

    def begin(self, line):
        """Has the guest begin with a line; `finish` waits for its end."""
        self.console.send(line + "\n")

    def finish(self, status=0, seconds=STEP_SECONDS):
        """What the line that was begun has printed."""
        found = self.console.expect(rb"(?s)^(.*?)STATUS (\d+)\r?\n", seconds)
        output = found[1].decode(errors="replace").replace("\r", "")
        if int(found[2]) != status:
            raise Failure(f"status {int(found[2])} instead of {status}: {output}")
        return output

    def obey(self, line, status=0, seconds=STEP_SECONDS):
        self.begin(line)
        return self.finish(status, seconds)

    def wait_end(self):
        """Waits for the end of Run; what GuestInfo tells of it."""
        self.client.wait(self.run, EXIT_SECONDS)
        info = self.info()
        expect_equal("the guest's status", wire.GUEST_STATUSES[info["guest_status"]], "STOPPED")
        if "stop_error" in info:
            raise Failure(f"the guest stopped with error {info['stop_error']}")
        return info["detected_problems"]


def arguments(parser):
    """The arguments that each test with a daemon takes."""
    parser.add_argument("--ringvisor", metavar="PATH", required=True, help="the monitor")
    parser.add_argument("--programs", metavar="FOLDER", required=True,
                        help="where the static programs for guests are")
    parser.add_argument("--logs", default=".", metavar="FOLDER")
    return parser.parse_args()
