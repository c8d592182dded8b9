/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only code that must run in ring 0: the PVH entry, the entries of the other CPUs, the
 * interrupt vectors and the gate by which ring 3 asks for something privileged.
 *
 * On hosts whose KVM has no VMX/SVM each ring-0 instruction is interpreted at some 0.5 us, so
 * descriptor tables and page tables are data of the image and not the work of a loop, an interrupt
 * costs four instructions, and everything else is C in ring 3.
 */
#include "layout.h"

#define PTE_TABLE  0x27 /* present, writable, user, accessed */
#define PTE_MEMORY 0xe7 /* ... dirty, 2 MiB */
#define PTE_MMIO   0xff /* ... uncached */

#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define CR4_PAE  0x20
#define CR0_LONG 0x80000033 /* PG, NE, ET, MP, PE */

#define RFLAGS_RING3    0x3002 /* IOPL 3, interrupts off until the local APIC is set up */
#define RFLAGS_RING3_AP 0x3202

/* Exceptions 8, 10 to 14, 17, 21, 29 and 30 push an error code. */
#define HAS_ERROR_CODE 0x60227d00

/*
 * The vectors lie at exactly 1 MiB, 32 bytes each: so the two halves of each gate's address are
 * known to the assembler, and the IDT needs no code to fill it.
 */
	.section .text.vectors, "ax"
	.code64
	.global vectors
vectors:
	.set n, 0
	.rept 256
	.balign VECTOR_SIZE
	.if n == 13
	jmp	gate
	.elseif n == VECTOR_SPURIOUS
	iretq			/* a spurious interrupt is not acknowledged */
	.elseif n >= 32
	lock incq irq_count + 8 * n
	lock incq irq_any
	movl	$0, LAPIC_ALIAS + 0xb0
	iretq
	.elseif (HAS_ERROR_CODE >> n) & 1
	push	$n
	jmp	trap_common
	.else
	push	$0
	push	$n
	jmp	trap_common
	.endif
	.set n, n + 1
	.endr
	.balign VECTOR_SIZE

	.section .note.Xen, "a", @note
	.balign 4
	.long	4, 4, 18	/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	pvh_start

	.text

/* Turns on long mode; clobbers eax, ecx, edx. Next must come a far jump to 64-bit code. */
	.macro enter_long_mode
	mov	$boot_pml4, %eax
	mov	%eax, %cr3
	mov	%cr4, %eax
	or	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	$MSR_EFER, %ecx
	rdmsr
	or	$EFER_LME, %eax
	wrmsr
	mov	$CR0_LONG, %eax
	mov	%eax, %cr0
	.endm

/* iretq to ring 3; the ring-3 stack is in rax, the function's arguments are in place. */
	.macro enter_ring3 flags, function
	pushq	$SEL_USER_DATA
	push	%rax
	pushq	$\flags
	pushq	$SEL_USER_CODE
	pushq	$\function
	mov	$SEL_USER_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	xor	%ebp, %ebp
	iretq
	.endm

/* PVH: 32-bit protected mode, flat segments, paging off, ebx = struct hvm_start_info. */
	.code32
	.global pvh_start
pvh_start:
	cli
	cld
	enter_long_mode
	lgdt	gdt_pointer
	ljmp	$SEL_CODE64, $pvh_start64

	.code64
pvh_start64:
	mov	$boot_ring0_stack_end, %esp
	lidt	idt_pointer
	mov	$boot_tss, %eax
	mov	%ax, gdt + SEL_TSS + 2
	shr	$16, %eax
	mov	%al, gdt + SEL_TSS + 4
	mov	$SEL_TSS, %eax
	ltr	%ax
	mov	%ebx, %edi
	mov	$boot_ring3_stack_end - 8, %eax
	enter_ring3 RFLAGS_RING3, guest_main

/* What a start-up IPI runs in real mode, copied to TRAMPOLINE. */
	.code16
	.global trampoline_start, trampoline_end
trampoline_start:
	cli
	cld
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	TRAMPOLINE + (trampoline_gdt - trampoline_start)
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$SEL_CODE32, $ap_start32
	.balign 4
trampoline_gdt:
	.word	gdt_end - gdt - 1
	.long	gdt
trampoline_end:

	.code32
ap_start32:
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	enter_long_mode
	ljmp	$SEL_CODE64, $ap_start64

/*
 * Here also lands a CPU released by the ACPI wakeup mailbox: 64-bit mode, identity-mapped,
 * interrupts off, its own descriptor tables. CPUs are started one at a time, so the stacks are plain
 * variables.
 */
	.code64
	.global ap_start64
ap_start64:
	cli
	cld
	mov	$boot_pml4, %eax
	mov	%rax, %cr3
	lgdt	gdt_pointer
	lidt	idt_pointer
	mov	ap_ring0_stack, %rsp
	mov	ap_tss_selector, %eax
	ltr	%ax
	mov	ap_index, %edi
	mov	ap_ring3_stack, %rax
	enter_ring3 RFLAGS_RING3_AP, smp_ap_main

/*
 * The gate into ring 0: int and syscall do not work from ring 3 on every host, exceptions do. A hlt
 * in ring 3 is a general protection fault: with rax = 0 it waits for an interrupt unless *rdi != rsi
 * already; otherwise it calls the function rax with rdi, rsi and, in rdx, the exception frame (rip,
 * cs, rflags, ...) with which it will return.
 */
	.global ring0_call
ring0_call:
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	hlt
	ret

	.global cpu_wait
cpu_wait:
	xor	%eax, %eax
	hlt
	ret

gate:
	push	%r11
	mov	16(%rsp), %r11
	cmpb	$0xf4, (%r11)
	jne	3f
	incq	16(%rsp)
	test	%rax, %rax
	jnz	2f
	cmp	(%rdi), %rsi
	jne	1f
	sti			/* takes effect behind the hlt: no interrupt can slip in between */
	hlt
	cli
1:	pop	%r11
	add	$8, %rsp
	iretq
2:	lea	16(%rsp), %rdx
	call	*%rax
	jmp	1b
3:	pop	%r11
	push	$13
	jmp	trap_common

/* Any other exception: the frame is handed to trap_enter, which continues in ring 3. */
trap_common:
	push	%rax
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rbp
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, %rdi
	mov	%cr2, %rsi
	call	trap_enter
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rbp
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rbx
	pop	%rax
	add	$16, %rsp
	iretq

	.data
	.balign 16
	.global gdt
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff	/* SEL_CODE32 */
	.quad	0x00af9b000000ffff	/* SEL_CODE64 */
	.quad	0x00cf93000000ffff	/* SEL_DATA */
	.quad	0
	.quad	0x00cff3000000ffff	/* SEL_USER_DATA */
	.quad	0x00affb000000ffff	/* SEL_USER_CODE */
	.quad	0
	.rept	CPU_MAX	/* SEL_TSS + 16 * CPU: the address is filled in at run time */
	.quad	0x0000890000000000 + TSS_SIZE - 1, 0
	.endr
gdt_end:

	.balign 16
idt:
	.set n, 0
	.rept 256
	.word	n * VECTOR_SIZE, SEL_CODE64, 0x8e00, IMAGE_BASE >> 16
	.quad	0
	.set n, n + 1
	.endr
idt_end:

	.balign 8
	.word	0, 0, 0
gdt_pointer:
	.word	gdt_end - gdt - 1
	.quad	gdt
	.balign 8
	.word	0, 0, 0
idt_pointer:
	.word	idt_end - idt - 1
	.quad	idt

/*
 * 4 GiB identity-mapped with 2 MiB pages, open to ring 3; the top GiB, where the devices are,
 * uncached. The top GiB appears once more at the top of the address space, because there the local
 * APIC can be reached with a sign-extended 32-bit address: an acknowledgement without a free
 * register.
 */
	.balign 4096
	.global boot_pml4
boot_pml4:
	.quad	boot_pdpt + PTE_TABLE
	.fill	510, 8, 0
	.quad	boot_pdpt_alias + PTE_TABLE
boot_pdpt:
	.quad	boot_pd + PTE_TABLE
	.quad	boot_pd + 0x1000 + PTE_TABLE
	.quad	boot_pd + 0x2000 + PTE_TABLE
	.quad	boot_pd + 0x3000 + PTE_TABLE
	.fill	508, 8, 0
boot_pdpt_alias:
	.fill	511, 8, 0
	.quad	boot_pd + 0x3000 + PTE_TABLE
boot_pd:
	.set n, 0
	.rept 1536
	.quad	(n << 21) + PTE_MEMORY
	.set n, n + 1
	.endr
	.rept 512
	.quad	(n << 21) + PTE_MMIO
	.set n, n + 1
	.endr

/* All ports are open to ring 3 by the bitmap too, because some hosts lose the IOPL. */
	.balign 4096
boot_tss:
	.long	0
	.quad	boot_ring0_stack_end
	.skip	90
	.word	TSS_BITMAP
	.skip	0x10000 / 8
	.byte	0xff

	.bss
	.balign 4096
	.skip	8192
boot_ring0_stack_end:
	.skip	65536
boot_ring3_stack_end:

	.section .note.GNU-stack, "", @progbits
