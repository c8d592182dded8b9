# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
# The virtio console is this terminal, and the entropy device feeds /dev/hwrng; its driver can let
# go of it and take it back.

# devices_of NAME: the devices on the virtio bus that the driver has.
devices_of() {
	(cd "/sys/bus/virtio/drivers/$1" && echo virtio*)
}

# draw: 256 bytes of /dev/hwrng come, and are not all alike.
draw() {
	head -c 256 /dev/hwrng >/tmp/random || return 1
	expect_equal "what /dev/hwrng gave" "$(wc -c </tmp/random)" 256
	[ "$(od -An -v -tx1 /tmp/random | tr -s ' ' '\n' | sort -u | wc -l)" -gt 32 ] ||
		fail "256 random bytes are of 32 kinds or fewer"
}

read -r active </sys/class/tty/console/active
expect_equal "the console" "${active##* }" hvc0
expect_equal "the generator" "$(cat /sys/class/misc/hw_random/rng_current)" virtio_rng.0
draw

device=$(devices_of virtio_rng)
echo "$device" >/sys/bus/virtio/drivers/virtio_rng/unbind
[ ! -e "/sys/bus/virtio/drivers/virtio_rng/$device" ] || fail "$device is still bound"
echo "$device" >/sys/bus/virtio/drivers/virtio_rng/bind
wait_until 5 grep -q virtio_rng /sys/class/misc/hw_random/rng_available ||
	fail "the generator did not come back"
draw
expect_within "interrupts of the console" "$(interrupts virtio0-output)" 1 1000000

dmesg # from before the console was there, for the one at its other end
