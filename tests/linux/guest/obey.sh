# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
# Runs each line that its console brings and says how that went, until one says `finish`: for tests
# that look at both sides of the machine (daemon_guest.py).

stty -echo
echo "READY to obey"
while IFS= read -r line; do
	[ "$line" = finish ] && break
	eval "$line"
	echo "STATUS $?"
done
stty echo
