# SPDX-License-Identifier: Apache-2.0
# Completion of ringctl for bash: commands, options, their values and the names of guests.
# shellcheck shell=bash

# The guests that the daemon knows; nothing if it does not answer.
_ringctl_guests() {
	local -a where=()
	[[ -n $1 ]] && where=(--socket "$1")
	ringctl "${where[@]}" list --quiet 2>/dev/null
}

# The options of a command; those of every command come last.
_ringctl_options() {
	case $1 in
	launch)
		echo --config --builtin --kernel --initrd --cmdline --cmdline-add --memory --cpus \
			--virtio-balloon --virtio-console --virtio-rng --virtio-vsock --virtio-mem \
			--virtio-mem-block-size --virtio-mem-region-size \
			--virtio-mem-region-alignment --disk --net --default-net --guest-cid \
			--vsock-uds-path --home-core --detach
		;;
	stop) echo --force ;;
	attach) echo --serial ;;
	list) echo --quiet --wide ;;
	top) echo --interval --count ;;
	vsock-perf) echo --echo-port --discard-port --source-port --count --bytes ;;
	esac
	echo --socket --json --color --help
}

_ringctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local command='' socket='' word i words=''

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		--socket) socket=${COMP_WORDS[i + 1]} && ((i++)) ;;
		--color) ((i++)) ;;
		-*) ;;
		*) command=${command:-$word} ;;
		esac
	done

	case $prev in
	--config | -c | --kernel | --initrd | --disk | --socket | --vsock-uds-path)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--virtio-balloon | --virtio-console | --virtio-rng | --virtio-vsock | --virtio-mem | --default-net)
		words='on off'
		;;
	--color) words='auto always never' ;;
	--bytes | -b) words='1M 16M 256M 1G' ;;
	--memory | -m) words='64M 256M 512M 1G 2G 4G' ;;
	--net)
		[[ -d /sys/class/net ]] && words=$(ls /sys/class/net)
		;;
	--cmdline | --cmdline-add | --cpus | --guest-cid | --home-core | --interval | -i | --count | -n | --*-port | --virtio-mem-*-size | --virtio-mem-region-alignment)
		return
		;;
	*)
		if [[ -z $command && $cur != -* ]]; then
			words='launch stop attach list info top balloon mem socat vsock-perf metrics version'
		elif [[ $cur == -* ]]; then
			words=$(_ringctl_options "$command")
		else
			case $command in
			balloon)
				if [[ $prev == balloon ]]; then
					words='set stats'
				elif [[ $prev == set || $prev == stats ]]; then
					words=$(_ringctl_guests "$socket")
				fi
				;;
			mem)
				if [[ $prev == mem ]]; then
					words='request-plugged stats'
				elif [[ $prev == request-plugged || $prev == stats ]]; then
					words=$(_ringctl_guests "$socket")
				fi
				;;
			socat)
				if [[ $prev == socat ]]; then
					words='connect listen'
				elif [[ $prev == connect || $prev == listen ]]; then
					words=$(_ringctl_guests "$socket")
				fi
				;;
			stop | attach | info | top | vsock-perf) words=$(_ringctl_guests "$socket") ;;
			esac
		fi
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _ringctl ringctl
