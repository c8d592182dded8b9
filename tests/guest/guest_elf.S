/* SPDX-License-Identifier: Apache-2.0 */
/* Holds the guest's ELF file as constant data; GUEST_ELF_PATH comes from the build. */
	.section .rodata
	.balign 4096
	.global ringvisor_guest_elf
	.type ringvisor_guest_elf, @object
ringvisor_guest_elf:
	.incbin GUEST_ELF_PATH
elf_end:
	.size ringvisor_guest_elf, . - ringvisor_guest_elf

	.balign 8
	.global ringvisor_guest_elf_len
	.type ringvisor_guest_elf_len, @object
ringvisor_guest_elf_len:
	.quad elf_end - ringvisor_guest_elf
	.size ringvisor_guest_elf_len, 8

	.section .note.GNU-stack, "", @progbits
