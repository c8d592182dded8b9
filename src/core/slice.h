/* SPDX-License-Identifier: Apache-2.0 */
/* How long the kernel's scheduler lets a thread run before another's turn. A thread with a shorter
 * slice than the one that runs goes first when it wakes (EEVDF, Linux 6.12): it gets no more of the
 * CPU, but gets it sooner. Older kernels ignore it. */
#ifndef CORE_SLICE_H
#define CORE_SLICE_H

/* Threads inherit it from the one that starts them. The calling thread; nothing happens to one with
 * a real-time policy.
 * slice_short: for a thread that answers others and is soon done. slice_default: as the system has
 * it. */
void slice_short(void);
void slice_default(void);

#endif
