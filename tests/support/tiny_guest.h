/* SPDX-License-Identifier: Apache-2.0 */
/* A guest of a few instructions in 32-bit protected mode, whose only vCPU is the test's own thread:
 * every access comes back to the test. */
#ifndef SUPPORT_TINY_GUEST_H
#define SUPPORT_TINY_GUEST_H

#include "core/gmem.h"
#include "core/vcpu.h"
#include "core/vm.h"

#define TINY_CODE_AT   0x1000
#define TINY_STACK     0x8000     /* below it; the guest's code loads it if it wants it */
#define TINY_NOT_THERE 0x5a5a5a5a /* what a read gives */
#define TINY_PORT_STEP 0x80       /* for the guest's code: it has come round */

struct tiny_guest {
	struct vm_host host;
	struct gmem mem;
	struct vm vm;
	struct vcpu vcpu;

	/* True: the test has dealt with this access, it is not recorded. NULL: none. A read's value
	 * goes to e->data, TINY_NOT_THERE at first. */
	bool (*take)(struct mailbox_exit *e);
	struct mailbox_exit exits[64]; /* since the last tiny_run_to */
	unsigned int exit_count;
};

/* tiny_start: a machine with this code, stopped before its first instruction; GDT of the loader's
 * selectors. Skips the test where there is no KVM. tiny_finish: frees it. */
void tiny_start(struct tiny_guest *t, const uint8_t *code, size_t len_bytes);
void tiny_finish(struct tiny_guest *t);

/* tiny_run_to: runs until the guest writes to this port; that exit. */
const struct mailbox_exit *tiny_run_to(struct tiny_guest *t, uint16_t port);

#endif
