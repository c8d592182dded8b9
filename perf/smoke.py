#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every benchmark of ringbench briefly and checks the shape of its reports, never a time."""
import json
import subprocess
import sys

STATS = ("min", "p50", "p90", "p99", "p99.9", "max")
VERDICTS = (", met", ", MISSED", ": not measured")


def run(*args, status=0):
    """The standard output of ringbench with these arguments."""
    done = subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == status, (args, done.returncode, done.stderr)
    assert "\r" not in done.stderr, "a progress line although there is no terminal"
    return done.stdout if status == 0 else done.stderr


def check_variant(variant, slices):
    """A variant ran and has figures, or says why not."""
    if variant["skipped"] is not None:
        assert variant["skipped"] and variant["latency"] is None, variant
        return 1
    latency = variant["latency"]
    assert latency is not None or variant["values"], variant
    if latency is not None:
        assert latency["count"] > 0 and latency["relative_error"] <= 0.016, latency
        figures = [latency[stat] for stat in STATS]
        assert figures == sorted(figures), latency
        assert 1 <= len(latency["p50_by_slice"]) <= slices
    for value in variant["values"]:
        assert 1 <= len(value["samples"]) <= slices and value["name"] and value["unit"], value
        assert min(value["samples"]) <= value["median"] <= max(value["samples"]), value
    return 0


def check_target(target, skipped):
    """A target is judged, or one of its variants was skipped."""
    assert target["sense"] in ("at_most", "at_least")
    if target["value"] is None:
        assert target["met"] is None and skipped, target
        return
    least = target["sense"] == "at_least"
    met = target["value"] >= target["bound"] if least else target["value"] <= target["bound"]
    assert target["met"] is met, target


def check_bench(name):
    """The JSON of one benchmark."""
    report = json.loads(run("--smoke", "--json", name))
    assert report["format"] == 1
    env = report["environment"]
    for key in ("time", "commit", "build", "kernel", "cpu", "governor", "hypervisor"):
        assert isinstance(env[key], str) and env[key], key
    assert isinstance(env["hardware_virtualization"], bool) and env["clock_ns"] > 0
    (bench,) = report["benchmarks"]
    assert bench["name"] == name and bench["slices"] == 2
    names = [variant["name"] for variant in bench["variants"]]
    assert names and len(set(names)) == len(names), names
    skipped = sum(check_variant(variant, bench["slices"]) for variant in bench["variants"])
    for target in bench["targets"]:
        assert target["of"]["variant"] in names, target
        check_target(target, skipped)
    print(f"{name}: {len(names)} variants, {skipped} skipped, {len(bench['targets'])} targets")
    return len(bench["targets"])


def main():
    """All benchmarks as JSON, all once more as text, then the usage errors."""
    names = run("--list").split()
    assert names and "usage:" in run("--help")
    targets = sum(check_bench(name) for name in names)
    text = run("--smoke", "all")
    for name in names:
        assert f"\n{name}: " in text, name
    judged = sum(any(v in line for v in VERDICTS) for line in text.splitlines())
    assert judged >= targets, (judged, targets)
    for wrong in (["nonsense"], [], ["--repeat", "0", names[0]], ["--duration", "x", names[0]],
                  ["--cpus", "1,,2", names[0]], ["--bogus"]):
        message = run(*wrong, status=2)
        assert message.startswith("ringbench: ") and message.count("\n") == 1, message


PROGRAM = sys.argv[1]
main()
