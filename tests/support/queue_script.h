/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as a script of what a hostile guest and a device do with one queue, for the fuzzers. */
#ifndef SUPPORT_QUEUE_SCRIPT_H
#define SUPPORT_QUEUE_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* queue_script_run: runs the script on a fresh queue of 16 entries (packed: 13); the first byte
 * chooses the features. Checks on the way what must always hold: what is popped lies in guest
 * memory, is within the bounds, and a broken queue stays so. Aborts if not. */
void queue_script_run(const uint8_t *script, size_t len_bytes, bool packed);

#endif
