/* SPDX-License-Identifier: Apache-2.0 */
/* ELF kernels: segments to their physical addresses, and the entry by PVH note or header. */
#include <elf.h>
#include <errno.h>

#include "core/check.h"
#include "core/layout.h"
#include "core/loader_image.h"

#define PHDRS_MAX 128

/* Xen's ELF note that names the 32-bit PVH entry (xen/include/public/elfnote.h). */
#define NOTE_NAME         "Xen"
#define NOTE_PHYS32_ENTRY 18

static int header_check(const struct blob *b, Elf64_Ehdr *eh, struct diag *d)
{
	if (!blob_has(b, 0, sizeof(*eh)))
		return diag_fail(d, -ENOEXEC,
			"%s: truncated ELF: %zu bytes; its header alone has %zu", b->name,
			b->len_bytes, sizeof(*eh));
	memcpy(eh, b->data, sizeof(*eh));
	if (memcmp(eh->e_ident, ELFMAG, SELFMAG))
		return diag_fail(
			d, -ENOEXEC, "%s: no ELF magic (7f 45 4c 46) at offset 0", b->name);
	if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != ELFDATA2LSB)
		return diag_fail(d, -ENOEXEC,
			"%s: ELF class %u, data %u at offset 4; expected 2, 1 (64-bit, "
			"little-endian)",
			b->name, eh->e_ident[EI_CLASS], eh->e_ident[EI_DATA]);
	if (eh->e_machine != EM_X86_64)
		return diag_fail(d, -ENOEXEC,
			"%s: ELF machine %u at offset 18; expected %u (x86-64)", b->name,
			eh->e_machine, EM_X86_64);
	if (eh->e_type != ET_EXEC && eh->e_type != ET_DYN)
		return diag_fail(d, -ENOEXEC,
			"%s: ELF type %u at offset 16; expected %u or %u (executable)", b->name,
			eh->e_type, ET_EXEC, ET_DYN);
	if (eh->e_phentsize != sizeof(Elf64_Phdr))
		return diag_fail(d, -ENOEXEC,
			"%s: program headers of %u bytes at offset 54; expected %zu", b->name,
			eh->e_phentsize, sizeof(Elf64_Phdr));
	if (!eh->e_phnum || eh->e_phnum > PHDRS_MAX)
		return diag_fail(d, -ENOEXEC,
			"%s: %u program headers at offset 56; expected 1 to %u", b->name,
			eh->e_phnum, PHDRS_MAX);
	if (!blob_has(b, eh->e_phoff, eh->e_phnum * sizeof(Elf64_Phdr)))
		return diag_fail(d, -ENOEXEC,
			"%s: truncated: %u program headers at offset 0x%llx end beyond its %zu "
			"bytes",
			b->name, eh->e_phnum, (unsigned long long)eh->e_phoff, b->len_bytes);
	return 0;
}

/* The file as checked: headers copied out, so that later steps only trust what was looked at. */
struct elf {
	const struct blob *b;
	unsigned int count;
	uint64_t entry;
	Elf64_Phdr ph[PHDRS_MAX];
};

static bool is_loaded(const Elf64_Phdr *ph)
{
	return ph->p_type == PT_LOAD && ph->p_memsz;
}

static int segment_check(const struct elf *elf, unsigned int i, struct diag *d)
{
	const Elf64_Phdr *ph = &elf->ph[i];

	if (ph->p_type != PT_LOAD && ph->p_type != PT_NOTE)
		return 0;
	if (!blob_has(elf->b, ph->p_offset, ph->p_filesz))
		return diag_fail(d, -ENOEXEC,
			"%s: truncated: segment %u, 0x%llx bytes at offset 0x%llx, ends beyond the "
			"file's %zu bytes",
			elf->b->name, i, (unsigned long long)ph->p_filesz,
			(unsigned long long)ph->p_offset, elf->b->len_bytes);
	if (ph->p_type == PT_NOTE)
		return 0;
	if (ph->p_filesz > ph->p_memsz)
		return diag_fail(d, -ENOEXEC,
			"%s: segment %u has 0x%llx bytes in the file but 0x%llx in memory",
			elf->b->name, i, (unsigned long long)ph->p_filesz,
			(unsigned long long)ph->p_memsz);
	if (ph->p_paddr > UINT64_MAX - ph->p_memsz)
		return diag_fail(d, -ENOEXEC,
			"%s: segment %u, 0x%llx bytes at 0x%llx, wraps around the address space",
			elf->b->name, i, (unsigned long long)ph->p_memsz,
			(unsigned long long)ph->p_paddr);
	return 0;
}

static int overlap_check(const struct elf *elf, unsigned int i, struct diag *d)
{
	const Elf64_Phdr *a = &elf->ph[i];

	for (unsigned int j = 0; j < i; j++) {
		const Elf64_Phdr *b = &elf->ph[j];

		if (!is_loaded(b) || a->p_paddr >= b->p_paddr + b->p_memsz ||
			b->p_paddr >= a->p_paddr + a->p_memsz)
			continue;
		return diag_fail(d, -ENOEXEC,
			"%s: segments %u (at 0x%llx) and %u (at 0x%llx) overlap in memory",
			elf->b->name, j, (unsigned long long)b->p_paddr, i,
			(unsigned long long)a->p_paddr);
	}
	return 0;
}

/* Checks all segments; gives the span of the loaded ones. */
static int segments_check(const struct elf *elf, uint64_t *start, uint64_t *end, struct diag *d)
{
	int err;

	*start = UINT64_MAX;
	*end = 0;
	for (unsigned int i = 0; i < elf->count; i++) {
		const Elf64_Phdr *ph = &elf->ph[i];

		err = segment_check(elf, i, d);
		if (err)
			return err;
		if (!is_loaded(ph))
			continue;
		err = overlap_check(elf, i, d);
		if (err)
			return err;
		if (ph->p_paddr < *start)
			*start = ph->p_paddr;
		if (ph->p_paddr + ph->p_memsz > *end)
			*end = ph->p_paddr + ph->p_memsz;
	}
	if (!*end)
		return diag_fail(d, -ENOEXEC,
			"%s: none of its %u program headers is a segment to load", elf->b->name,
			elf->count);
	return 0;
}

/* Looks for the PVH note in one PT_NOTE segment: 1 with *entry, 0 if there is none, -ENOEXEC.
 * Names and descriptors are padded to 4 bytes, or to 8 where the segment is aligned so. */
static int notes_search(
	const struct elf *elf, const Elf64_Phdr *ph, uint64_t *entry, struct diag *d)
{
	const uint64_t pad = ph->p_align == 8 ? 7 : 3, end = ph->p_offset + ph->p_filesz;
	const uint8_t *data = elf->b->data;
	Elf64_Nhdr note;

	for (uint64_t at = ph->p_offset; at < end && end - at >= sizeof(note);) {
		uint64_t name = at + sizeof(note), desc, next;

		memcpy(&note, data + at, sizeof(note));
		desc = name + ((note.n_namesz + pad) & ~pad);
		next = desc + ((note.n_descsz + pad) & ~pad);
		if (desc + note.n_descsz > end)
			return diag_fail(d, -ENOEXEC,
				"%s: the ELF note at offset 0x%llx ends beyond its segment "
				"(0x%llx)",
				elf->b->name, (unsigned long long)at, (unsigned long long)end);
		if (note.n_type != NOTE_PHYS32_ENTRY || note.n_namesz != sizeof(NOTE_NAME) ||
			memcmp(data + name, NOTE_NAME, sizeof(NOTE_NAME))) {
			at = next;
			continue;
		}
		if (note.n_descsz != 4 && note.n_descsz != 8)
			return diag_fail(d, -ENOEXEC,
				"%s: the PVH entry note at offset 0x%llx has %u bytes; expected 4 "
				"or "
				"8",
				elf->b->name, (unsigned long long)at, note.n_descsz);
		*entry = 0;
		memcpy(entry, data + desc, note.n_descsz);
		return 1;
	}
	return 0;
}

static int pvh_search(const struct elf *elf, uint64_t *entry, struct diag *d)
{
	int found = 0;

	for (unsigned int i = 0; i < elf->count && !found; i++) {
		if (elf->ph[i].p_type == PT_NOTE)
			found = notes_search(elf, &elf->ph[i], entry, d);
	}
	return found;
}

static bool is_in_segment(const struct elf *elf, uint64_t address)
{
	for (unsigned int i = 0; i < elf->count; i++) {
		if (is_loaded(&elf->ph[i]) && address - elf->ph[i].p_paddr < elf->ph[i].p_memsz)
			return true;
	}
	return false;
}

/* e_entry is a physical address in a vmlinux; other kernels give a virtual one. */
static uint64_t entry_physical(const struct elf *elf)
{
	if (is_in_segment(elf, elf->entry))
		return elf->entry;
	for (unsigned int i = 0; i < elf->count; i++) {
		const Elf64_Phdr *ph = &elf->ph[i];

		if (is_loaded(ph) && elf->entry - ph->p_vaddr < ph->p_memsz)
			return elf->entry - ph->p_vaddr + ph->p_paddr;
	}
	return elf->entry;
}

static int entry_find(const struct elf *elf, bool pvh, struct loader_image *image, struct diag *d)
{
	uint64_t entry = 0;
	int found = pvh ? pvh_search(elf, &entry, d) : 0;

	if (found < 0)
		return found;
	if (!found)
		entry = entry_physical(elf);
	if (!is_in_segment(elf, entry))
		return diag_fail(d, -ENOEXEC, "%s: its entry 0x%llx (%s) is in no loaded segment",
			elf->b->name, (unsigned long long)entry,
			found ? "PVH note" : "at offset 24");
	image->protocol = found ? BOOT_PVH : BOOT_LINUX64;
	image->entry = GPA(entry);
	return 0;
}

/* What the setup header of a bzImage would have said. */
static void header_fill(struct setup_header *h)
{
	*h = (struct setup_header){
		.boot_flag = 0xaa55,
		.header = 0x53726448, /* "HdrS" */
		.version = 0x020c,
		.loadflags = LOADED_HIGH,
		.kernel_alignment = 0x1000000,
		.xloadflags = XLF_KERNEL_64,
	};
}

int loader_elf(
	struct gmem *m, const struct blob *b, bool pvh, struct loader_image *image, struct diag *d)
{
	struct elf elf = {.b = b};
	Elf64_Ehdr eh;
	int err;

	err = header_check(b, &eh, d);
	if (err)
		return err;
	elf.count = eh.e_phnum;
	elf.entry = eh.e_entry;
	memcpy(elf.ph, b->data + eh.e_phoff, elf.count * sizeof(Elf64_Phdr));
	err = segments_check(&elf, &image->start, &image->end, d);
	if (!err)
		err = image_check_fit(m, b, image->start, image->end, d);
	if (!err)
		err = entry_find(&elf, pvh, image, d);
	if (err)
		return err;

	for (unsigned int i = 0; i < elf.count; i++) {
		const Elf64_Phdr *ph = &elf.ph[i];

		/* The rest up to p_memsz is bss; fresh memory is zero already. */
		if (is_loaded(ph) && ph->p_filesz)
			CHECK(gmem_write(
				m, GPA(ph->p_paddr), b->data + ph->p_offset, ph->p_filesz));
	}
	header_fill(&image->header);
	image->initrd_end = GMEM_HOLE_START;
	image->cmdline_max = UINT32_MAX;
	return 0;
}
