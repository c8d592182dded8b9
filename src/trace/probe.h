/* SPDX-License-Identifier: Apache-2.0 */
/* Static probes (USDT) of the provider `ringvisor`; docs/TRACING.md says what each one carries.
 *
 *   PROBE(kick, guest, device, queue, vq);
 *
 * An idle probe is a test of its semaphore and, out of the way, a nop: its arguments are computed
 * only while somebody is attached. The kernel counts the semaphore up and down with the attached
 * programs. Any thread. A leaf: includes nothing of ours. */
#ifndef TRACE_PROBE_H
#define TRACE_PROBE_H

/* Every probe there is; tests/trace/probes_test.py holds it against the page and the binary. */
#define PROBES(X)                                                                                  \
	X(vcpu_entry)                                                                              \
	X(vcpu_exit)                                                                               \
	X(mailbox_post)                                                                            \
	X(mailbox_drain)                                                                           \
	X(kick)                                                                                    \
	X(vq_pop)                                                                                  \
	X(vq_push)                                                                                 \
	X(irq)                                                                                     \
	X(sqe_queued)                                                                              \
	X(completion)                                                                              \
	X(turn_begin)                                                                              \
	X(turn_end)                                                                                \
	X(guest_state)                                                                             \
	X(vsock_state)                                                                             \
	X(vsock_connect)                                                                           \
	X(vsock_accept)                                                                            \
	X(vsock_close)                                                                             \
	X(vsock_stall)                                                                             \
	X(vsock_data)                                                                              \
	X(console_write)                                                                           \
	X(console_written)                                                                         \
	X(balloon_change)                                                                          \
	X(mem_change)                                                                              \
	X(rpc_begin)                                                                               \
	X(rpc_end)

/* probe_string: a string argument. Touches it, so that it is in memory: a tracer cannot wait for a
 * page. NULL is fine. */
static inline const char *probe_string(const char *text)
{
	if (text)
		(void)*(const volatile char *)text;
	return text;
}

#ifdef RINGVISOR_PROBES

#define _SDT_HAS_SEMAPHORES 1
#define SDT_USE_VARIADIC    1
/* Constants and registers only: no tracer fails to read these, some fail with memory operands. */
#define STAP_SDT_ARG_CONSTRAINT nr
#include <sys/sdt.h>

/* Weak, so that each file that has probes may define all of them and the program has one each. */
#define PROBE_SEMAPHORE(name)                                                                      \
	extern volatile unsigned short ringvisor_##name##_semaphore;                               \
	__attribute__((weak, visibility("hidden"),                                                 \
		section(".probes"))) volatile unsigned short ringvisor_##name##_semaphore;
PROBES(PROBE_SEMAPHORE)
#undef PROBE_SEMAPHORE

#define PROBE_ON(name) __builtin_expect(ringvisor_##name##_semaphore != 0, 0)
#define PROBE(name, ...)                                                                           \
	do {                                                                                       \
		if (PROBE_ON(name))                                                                \
			STAP_PROBEV(ringvisor, name, __VA_ARGS__);                                 \
	} while (0)

#else

/* Compiled but never reached, so that both ways of building see the same errors. */
static inline void probe_ignore(int first, ...)
{
	(void)first;
}

#define PROBE_ON(name) 0
#define PROBE(name, ...)                                                                           \
	do {                                                                                       \
		if (0)                                                                             \
			probe_ignore(0, __VA_ARGS__);                                              \
	} while (0)

#endif

#endif
