# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
# What a test script may call; init sources it and then the script, in a shell of its own.
# A script passes by ending with status 0. Programs and files that make-initramfs was given are
# under /bin and where their destination says.

# fail REASON...: ends the script; the reason goes into its verdict.
fail() {
	echo "$*" >/tmp/reason
	exit 1
}

# expect_equal WHAT ACTUAL WANTED
expect_equal() {
	[ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"
}

# expect_within WHAT ACTUAL LEAST MOST: whole numbers.
expect_within() {
	if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
		fail "$1 is $2, not within $3 and $4"
	fi
}

# interrupts NAME: the interrupts that the source named so has had so far, on all processors.
interrupts() {
	awk -v name="$1" '$NF == name { for (i = 2; i <= NF && $i ~ /^[0-9]+$/; i++) n += $i }
		END { print n + 0 }' /proc/interrupts
}

# wait_until SECONDS COMMAND...: repeats the command until it succeeds; fails after that time.
wait_until() {
	local end=$(($(cut -d. -f1 /proc/uptime) + $1))
	shift
	until "$@"; do
		[ "$(cut -d. -f1 /proc/uptime)" -lt $end ] || return 1
		sleep 0.1
	done
}
