# SPDX-License-Identifier: Apache-2.0
# What the scripts of this folder share: progress lines, the cache, packages from Debian's archive.
# Sourced, never run. Every script prints its one result on stdout and all else on stderr.

set -euo pipefail

SKIPPED=77 # what ctest takes for "could not run here" (SKIP_RETURN_CODE)
CACHE=${RINGVISOR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ringvisor}

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
fail() {
	say "$*"
	exit 1
}
skip() {
	say "skipped: $*"
	exit "$SKIPPED"
}

# Gives each script a scratch folder on the cache's file system, so that a rename out of it is
# atomic; it goes when the script ends, however it ends.
open_scratch() {
	mkdir -p "$CACHE" || fail "cannot create the cache folder $CACHE (set RINGVISOR_CACHE)"
	SCRATCH=$(mktemp -d "$CACHE/.tmp.XXXXXX")
	trap 'rm -rf "$SCRATCH"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}

# One builder of NAME at a time, on this cache: the others wait and then find its result.
lock_cache() {
	mkdir -p "$CACHE" || fail "cannot create the cache folder $CACHE (set RINGVISOR_CACHE)"
	exec 9>"$CACHE/.$1.lock"
	if ! flock -n 9; then
		say "waiting for another $1 on this cache"
		flock 9
	fi
}

# apt-get with the machine's package lists, or, after update_lists, with lists of our own.
own_lists=()
apt() {
	local sandbox=()
	((EUID)) || sandbox=(-o APT::Sandbox::User=root)
	apt-get -q "${sandbox[@]}" "${own_lists[@]}" "$@"
}

# Fetches fresh package lists into the scratch folder: needs no root, changes nothing outside.
update_lists() {
	((${#own_lists[@]} == 0)) || return 1
	say "fetching Debian's package lists"
	mkdir -p "$SCRATCH/apt/lists/partial" "$SCRATCH/apt/cache/archives/partial"
	own_lists=(-o "Dir::State::Lists=$SCRATCH/apt/lists" -o "Dir::Cache=$SCRATCH/apt/cache")
	apt update >&2
}

# package_version NAME: prints the version that `apt-get download` would take; fails if unknown.
package_version() {
	local uri
	# In an empty folder: apt-get names nothing that it finds downloaded where it runs.
	uri=$(cd "$SCRATCH" && apt --print-uris download "$1" 2>/dev/null) || return 1
	uri=${uri#*\' "$1"_}
	uri=${uri%%_*}
	[[ $uri ]] || return 1
	printf '%s\n' "${uri//%3a/:}"
}

# unpack_package NAME FOLDER: downloads the package and unpacks it there. Nothing is installed.
unpack_package() {
	local name=$1 folder=$2
	mkdir -p "$folder" "$SCRATCH/deb"
	rm -f "$SCRATCH/deb/$name"_*.deb
	say "downloading $name from Debian's archive"
	(cd "$SCRATCH/deb" && apt download "$name" >&2) ||
		{ update_lists && (cd "$SCRATCH/deb" && apt download "$name" >&2); } ||
		skip "apt-get cannot download $name; is Debian's archive reachable from here?"
	dpkg-deb -x "$SCRATCH/deb/$name"_*.deb "$folder"
	rm -f "$SCRATCH/deb/$name"_*.deb
}
