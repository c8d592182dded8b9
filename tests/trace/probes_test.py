#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The probes in the binary are those of docs/TRACING.md and of probe.h, argument by argument.

usage: probes_test.py RINGVISOR SOURCE ON|OFF
"""
import os
import re
import subprocess
import sys

NOTE = re.compile(r"Provider: ringvisor\s+Name: (\w+)\s+Location: \S+ Base: \S+ "
                  r"Semaphore: 0x([0-9a-f]+)\s+Arguments: ([^\n]*)")


def in_binary(path):
    """name → [(semaphore, arguments)], one for each place where the probe is."""
    env = {**os.environ, "LC_ALL": "C"}
    text = subprocess.run(["readelf", "-n", "-W", path], check=True, capture_output=True, text=True,
                          env=env).stdout
    found = {}
    for name, semaphore, arguments in NOTE.findall(text):
        found.setdefault(name, []).append((int(semaphore, 16), arguments.split()))
    if len(re.findall(r"Provider: ringvisor", text)) != sum(map(len, found.values())):
        raise AssertionError("readelf prints notes that this test does not understand:\n" + text)
    return found


def in_page(path):
    with open(path, encoding="utf-8") as page:
        headings = re.findall(r"^### (\w+)\(([^)]*)\)$", page.read(), re.M)
    return {name: [word.strip() for word in arguments.split(",")] for name, arguments in headings}


def in_header(path):
    with open(path, encoding="utf-8") as header:
        return set(re.findall(r"\bX\((\w+)\)", header.read()))


def problems(binary, page, header):
    for name in sorted(header ^ set(page)):
        yield f"{name} is in only one of probe.h and docs/TRACING.md"
    for name in sorted(set(binary) ^ set(page)):
        yield f"{name} is in only one of the binary and docs/TRACING.md"
    for name in sorted(set(binary) & set(page)):
        for semaphore, arguments in binary[name]:
            if len(arguments) != len(page[name]):
                yield f"{name} has {len(arguments)} arguments; its page says {page[name]}"
            if not semaphore:
                yield f"{name} has no semaphore"
            for argument in arguments:
                if "(" in argument or re.search(r"@[^%$]", argument):
                    yield f"{name}: {argument} is neither a register nor a constant"


def main():
    ringvisor, source, compiled = sys.argv[1:]
    page = in_page(os.path.join(source, "docs", "TRACING.md"))
    header = in_header(os.path.join(source, "src", "trace", "probe.h"))
    binary = in_binary(ringvisor)
    if compiled == "OFF":
        found = [f"{name} is in a binary without probes" for name in binary]
    else:
        found = list(problems(binary, page, header))
    print("\n".join(found) or f"{len(binary)} probes in the binary, {len(page)} on the page")
    return 1 if found or not page else 0


if __name__ == "__main__":
    sys.exit(main())
