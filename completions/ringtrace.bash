# SPDX-License-Identifier: Apache-2.0
# Completion of ringtrace for bash: commands, what histograms are of, probes, options.
# shellcheck shell=bash

# The probes in the running daemon's program, or in the one that would be run.
_ringtrace_probes() {
	local binary
	binary=$(command -v ringvisor) || return
	readelf -n "$binary" 2>/dev/null | sed -n '/Provider: ringvisor/{n;s/^ *Name: //p;}' | sort -u
}

_ringtrace() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' words='' i
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		hist | top | events | timeline | flame) command=${COMP_WORDS[i]} ;;
		esac
	done
	case $prev in
	--plot)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	-p | --pid) words=$(pgrep -x ringvisor 2>/dev/null) ;;
	-g | --guest) words=$(ringctl list --quiet 2>/dev/null) ;;
	-d | --duration | -i | --interval) return ;;
	*)
		if [[ $cur == -* ]]; then
			words='--pid --guest --duration --interval --json --plot --help --version'
		elif [[ -z $command ]]; then
			words='hist top events timeline flame'
		elif [[ $command == hist ]]; then
			words='exits kick irq depth vsock console rpc turn ring sched kvm'
		elif [[ $command == events ]]; then
			words=$(_ringtrace_probes)
		fi
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _ringtrace ringtrace
