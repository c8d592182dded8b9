# SPDX-License-Identifier: Apache-2.0
"""A memory cgroup of a test's own, with a limit, whose memory pressure can be watched.

    with MemoryCgroup(limit) as group:
        subprocess.Popen(..., preexec_fn=group.enter)

On a host with cgroup v2 alone it is one group; on a hybrid one, where version 1 limits memory and
version 2 measures the pressure, one in each. Unavailable tells why there can be none here.
"""
import os
import re
import time


class Unavailable(Exception):
    pass


def mounts():
    """{"v1": the memory hierarchy's mount, "v2": the unified one's}, those that are there."""
    found = {}
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            kind, _, options = right.split()
            if kind == "cgroup2":
                found["v2"] = left.split()[4]
            elif kind == "cgroup" and "memory" in options.split(","):
                found["v1"] = left.split()[4]
    return found


class MemoryCgroup:
    def __init__(self, limit_bytes):
        if not os.path.exists("/proc/pressure/memory"):
            raise Unavailable("/proc/pressure/memory is not there: this kernel measures no pressure")
        at, name = mounts(), f"ringvisor-test-{os.getpid()}"
        if "v2" not in at:
            raise Unavailable("no cgroup v2 is mounted")
        self.groups = [os.path.join(root, name) for root in at.values()]
        self.v2 = os.path.join(at["v2"], name)
        self.pressure = os.path.join(self.v2, "memory.pressure")
        limits = [(self.v2, "memory.max")]
        if "v1" in at:
            limits = [(os.path.join(at["v1"], name), "memory.limit_in_bytes")]
        try:
            for group in self.groups:
                os.mkdir(group)
            for group, file in limits:
                self.write(group, file, limit_bytes)
            if not os.path.exists(self.pressure):
                raise Unavailable(f"{self.pressure} is not there")
        except OSError as error:
            self.remove()
            raise Unavailable(f"no memory cgroup can be made: {error}") from error
        except Unavailable:
            self.remove()
            raise

    @staticmethod
    def write(group, file, value):
        with open(os.path.join(group, file), "w", encoding="ascii") as to:
            to.write(str(value))

    def enter(self):
        """The calling process, from now on."""
        for group in self.groups:
            self.write(group, "cgroup.procs", os.getpid())

    def waited_us(self):
        """For how long tasks of the group have waited for memory, ever."""
        with open(self.pressure, encoding="ascii") as text:
            return int(re.search(r"some .*total=(\d+)", text.read())[1])

    def remove(self):
        """A process that was ended may take a moment to leave its group."""
        for group in self.groups:
            for _ in range(100):
                try:
                    os.rmdir(group)
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()
