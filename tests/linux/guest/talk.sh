# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
# Talks with boot_small_kernel.py over the console, which echoes what is typed.

echo "READY for a word"
read -r word || fail "the console ended"
echo "GOT <$word>"

# A long line at once: more than any FIFO holds, so that the port has to hold input back.
echo "READY for a line"
read -r line || fail "the console ended"
echo "SUM <${#line} $(printf %s "$line" | md5sum | cut -d' ' -f1)>"
