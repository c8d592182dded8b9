#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shared client library exports rv_* alone, each function of its header, and needs little.

usage: client_symbols.py LIBRARY HEADER
"""
import re
import subprocess
import sys

ALLOWED = {"libjansson.so.4", "libc.so.6", "ld-linux-x86-64.so.2"}
SANITIZERS = ("libasan", "libubsan", "libtsan", "libclang_rt")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main():
    library, header = sys.argv[1:]
    exported = {line.split()[-1] for line in output("nm", "-D", "--defined-only", library).splitlines()}
    exported = {name for name in exported if not name.startswith(("__asan", "__ubsan", "__odr_asan"))}
    with open(header, encoding="utf-8") as f:
        declared = set(re.findall(r"RV_API[^;(]*?(rv_\w+)\(", f.read()))
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "-d", library)))
    needed = {name for name in needed if not name.startswith(SANITIZERS)}
    problems = [f"exported, but not declared: {name}" for name in sorted(exported - declared)]
    problems += [f"declared, but not exported: {name}" for name in sorted(declared - exported)]
    if "libasan" not in output("readelf", "-d", library):
        problems += [f"needs {name}" for name in sorted(needed - ALLOWED)]
    print("\n".join(problems) or f"{len(exported)} functions exported, as declared")
    return 1 if problems or not declared else 0


sys.exit(main())
