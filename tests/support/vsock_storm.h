/* SPDX-License-Identifier: Apache-2.0 */
/* A guest and a client that do to a vsock device whatever a string of bytes says; for the fuzzer
 * and for tests with random bytes. Include fake_io.h as well. */
#ifndef SUPPORT_VSOCK_STORM_H
#define SUPPORT_VSOCK_STORM_H

#include <stddef.h>
#include <stdint.h>

/* vsock_storm: makes a device, plays the bytes, ends it; aborts if anything is left, or if the
 * device says something that makes no sense. */
void vsock_storm(const uint8_t *bytes, size_t len_bytes);

#endif
