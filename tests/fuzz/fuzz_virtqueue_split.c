/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the split queue: the input is a script of guest writes and device steps. */
#include "support/queue_script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	queue_script_run(data, len_bytes, false);
	return 0;
}
