/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded guest as a part of the program that runs it (library guest_elf). */
#ifndef GUEST_ELF_H
#define GUEST_ELF_H

#include <stddef.h>

/* A complete ELF file with a PVH entry note; constant, page-aligned. */
extern const unsigned char ringvisor_guest_elf[];
extern const size_t ringvisor_guest_elf_len;

#endif
