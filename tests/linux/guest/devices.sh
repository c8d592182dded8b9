# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
# The virtio console is this terminal, and the entropy device feeds /dev/hwrng; its drivers, of
# virtio and of PCI, can let go of it and take it back.

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

# come_back: the generator is there again, and gives.
come_back() {
	wait_until 20 grep -q virtio_rng /sys/class/misc/hw_random/rng_available ||
		fail "the generator did not come back"
	draw
}

device=$(devices_of virtio_rng)
echo "$device" >/sys/bus/virtio/drivers/virtio_rng/unbind
[ ! -e "/sys/bus/virtio/drivers/virtio_rng/$device" ] || fail "$device is still bound"
echo "$device" >/sys/bus/virtio/drivers/virtio_rng/bind
come_back

# The whole function, by the bus that it is on.
function=$(readlink -f "/sys/bus/virtio/devices/$device/..")
function=${function##*/}
echo "$function" >/sys/bus/pci/drivers/virtio-pci/unbind
[ ! -e "/sys/bus/virtio/devices/$device" ] || fail "$device is still there without its function"
echo "$function" >/sys/bus/pci/drivers/virtio-pci/bind
come_back
expect_within "interrupts of the console" "$(interrupts virtio0-output)" 1 1000000
