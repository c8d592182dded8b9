# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
# A host with hardware virtualization: the tests that make_initramfs was given, a daemon whose guest
# has two CPUs, and ringtrace at that daemon.

log=/tmp/log
socket=/tmp/socket

ctl() { ringctl --socket $socket "$@"; }

# works COMMAND...: it ends with status 0; what it said is in $log.
works() {
	local status
	"$@" >$log 2>&1
	status=$?
	[ $status -eq 0 ] && return
	cat $log
	fail "$*: status $status"
}

# says PATTERN: in what the last one said.
says() {
	grep -q "$1" $log || {
		cat $log
		fail "'$1' was not said"
	}
}

mkdir /dev/shm # Criterion's
mount -t tmpfs shm /dev/shm || fail "no /dev/shm"
mount -t tracefs tracefs /sys/kernel/tracing || fail "no tracefs"
for module in irqbypass kvm kvm-amd; do
	insmod /modules/$module.ko || fail "$module is not loaded"
done
grep -q svm /proc/cpuinfo || fail "no SVM"

for program in /programs/*; do
	echo "${program##*/}"
	works "$program"
done

ringvisor serve --socket $socket &
daemon=$!
wait_until 60 test -S $socket || fail "the daemon does not listen"
works ctl version
says "with VMX/SVM"

# Its end has to be seen, which is what a daemon that closes nothing would not give.
printf 'cpu\nhalt\n' >/tmp/typed
echo "a guest with two CPUs"
ctl launch --builtin --cpus 2 first </tmp/typed >$log 2>&1 || fail "launch: status $?"
says "cpus: 2 of 2 run"
says "VERDICT cpu ok"
works ctl list
says "first .*stopped"

works ctl launch --builtin --detach second
ringtrace_at() {
	echo "ringtrace $1"
	works ringtrace "$@" --pid $daemon --duration 2
}
(while kill -0 $daemon 2>/dev/null; do ctl list; done) >/dev/null 2>&1 &
ringtrace_at hist exits kick irq vsock console rpc turn ring sched kvm
says "Host.List"
ringtrace_at top
ringtrace_at events rpc_end
says "Host.List"
ringtrace_at flame
ringtrace_at timeline --guest second
says traceEvents

kill $daemon
wait $daemon || fail "the daemon ended with status $?"
