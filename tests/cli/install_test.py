#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `cmake --install` puts into a folder is enough to build and run a client, and for systemd."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = sys.argv[1:3]


def run(*args, **more):
    return subprocess.run(args, check=False, capture_output=True, text=True, timeout=120, **more)


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.prefix = os.path.join(cls.folder.name, "prefix")
        result = run("cmake", "--install", BUILD, "--prefix", cls.prefix)
        if result.returncode:
            raise AssertionError(result.stdout + result.stderr)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def find(self, name):
        for folder, _, files in os.walk(self.prefix):
            if name in files:
                return os.path.join(folder, name)
        self.fail(f"{name} was not installed")

    def test_programs_and_pages(self):
        for name in ("ringvisor", "ringctl"):
            self.assertTrue(os.access(os.path.join(self.prefix, "bin", name), os.X_OK), name)
        for name in ("ringvisor.1", "ringctl.1", "ringvisor-client.3"):
            self.find(name)
        self.find("client.h")

    def test_a_client_builds_by_pkg_config_shared_and_static(self):
        pc = os.path.dirname(self.find("ringvisor-client.pc"))
        env = {**os.environ, "PKG_CONFIG_PATH": pc}
        for static in ([], ["--static"]):
            flags = run("pkg-config", "--cflags", "--libs", *static, "ringvisor-client", env=env)
            self.assertEqual(flags.returncode, 0, flags.stderr)
            program = os.path.join(self.folder.name, "launch")
            result = run(os.environ.get("CC", "cc"), os.path.join(SOURCE, "examples/launch.c"), "-o", program,
                         *flags.stdout.split())
            self.assertEqual(result.returncode, 0, result.stderr)
            # It runs: without a daemon it says so.
            result = run(program, "/nonexistent/socket",
                         env={**env, "LD_LIBRARY_PATH": os.path.dirname(pc)})
            self.assertNotEqual(result.returncode, 127, result.stderr)
            self.assertNotIn("error while loading", result.stderr)

    def test_units(self):
        units = [self.find("ringvisor.service"), self.find("ringvisor.socket")]
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not installed")
        result = run("systemd-analyze", "verify", "--man=no", *units)
        wrong = [line for line in result.stderr.splitlines() if "ringvisor" in line
                 and "not executable" not in line]  # the units name the final prefix
        self.assertEqual(wrong, [], result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2, argv=sys.argv[:1])
