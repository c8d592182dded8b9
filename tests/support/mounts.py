# SPDX-License-Identifier: Apache-2.0
"""Programs run where some files of the host are hidden."""
import os
import subprocess


def hiding(case, mounts):
    """A command line that runs the rest of it with these mounts of its own, a shell's commands.
    Skips the test of `case` where there can be none: for others than root, or in a chroot whose root
    is no mount point."""
    if os.geteuid():
        case.skipTest("only root can make mounts of its own")
    tried = subprocess.run(["unshare", "-m", "true"], stderr=subprocess.PIPE, check=False, text=True)
    if tried.returncode:
        case.skipTest(f"no mounts of its own here: {tried.stderr.strip()}")
    return ["unshare", "-m", "sh", "-c", mounts + ' && exec "$@"', "sh"]
