# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
# shellcheck disable=SC2154 # want_* come from the kernel's command line
# The machine as Linux sees it. The kernel's command line says what is right:
# want_cpus=, want_mib=, and want_config= (bytes of configuration space of 00:00.0).

expect_equal "the number of processors" "$(nproc)" "$want_cpus"
cpu=0
while [ $cpu -lt "$want_cpus" ]; do
	# Field 39 of stat is the processor that runs the process that reads it.
	# shellcheck disable=SC2016 # $39 is awk's
	ran=$(taskset "$(printf %x $((1 << cpu)))" awk '{ print $39 }' /proc/self/stat)
	expect_equal "the processor of a process bound to $cpu" "$ran" $cpu
	cpu=$((cpu + 1))
done

# The kernel keeps its image, the page structs and some tables for itself.
total=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)
expect_within "MemTotal in MiB" "$total" $((want_mib * 95 / 100 - 24)) "$want_mib"

# Linux asks for bytes above the first 256, which ECAM alone reaches, before it says 4096.
host=/sys/bus/pci/devices/0000:00:00.0
[ -e $host/config ] || fail "there is no PCI host bridge at 00:00.0"
if [ -n "$want_config" ]; then
	expect_equal "the host bridge's configuration space" "$(wc -c <$host/config)" "$want_config"
	od -An -tx1 -j 256 -N 16 $host/config >/tmp/extended || fail "cannot read it above 256"
	[ -s /tmp/extended ] || fail "reading it above 256 gave nothing"
fi

# Pin 4 of the I/O APIC, whatever number Linux gives to it; this very output makes it interrupt.
grep -Eq "IO-APIC +4-edge +ttyS0" /proc/interrupts || fail "ttyS0 is not on I/O APIC pin 4"
before=$(interrupts ttyS0)
echo "serial interrupts so far: $before"
[ "$before" -gt 0 ] || fail "ttyS0 has had no interrupt"
count_rises() { [ "$(interrupts ttyS0)" -gt "$before" ]; }
wait_until 20 count_rises || fail "ttyS0's interrupts stay at $before while it writes"

grep -q . /sys/class/input/input*/name || fail "there is no input device"
grep -q "Power Button" /sys/class/input/input*/name || fail "there is no power button"
