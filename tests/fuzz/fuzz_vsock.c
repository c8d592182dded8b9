/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of any kind from the guest, while clients come, go and do not read. */
#include <stddef.h>
#include <stdint.h>

#include "support/fake_io.h"
#include "support/vsock_storm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* So that fake_io takes the reactor's place. */
	if (reactor_current())
		return 0;
	if (size <= 4096)
		vsock_storm(data, size);
	return 0;
}
