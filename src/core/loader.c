/* SPDX-License-Identifier: Apache-2.0 */
/* The loader's outline: which kind of kernel it is, then command line, initrd, and what the kernel
 * finds at its entry. */
#include "core/loader.h"

#include <elf.h>
#include <errno.h>

#include "core/check.h"
#include "core/config.h"
#include "core/layout.h"
#include "core/loader_image.h"

#define MIB (1ULL << 20)

static uint64_t align_up(uint64_t x, uint64_t to)
{
	return (x + to - 1) & ~(to - 1);
}

static uint64_t low_end(const struct gmem *m)
{
	return m->regions[0].size_bytes;
}

int image_check_fit(
	const struct gmem *m, const struct blob *b, uint64_t start, uint64_t end, struct diag *d)
{
	if (start < LAYOUT_KERNEL_MIN)
		return diag_fail(d, -ENOEXEC,
			"%s: wants to be loaded at 0x%llx; kernels are loaded at 0x%llx or above",
			b->name, (unsigned long long)start, LAYOUT_KERNEL_MIN);
	if (end > GMEM_HOLE_START)
		return diag_fail(d, -EFBIG,
			"%s: wants memory up to 0x%llx; a kernel must end below 3 GiB (0x%llx)",
			b->name, (unsigned long long)end, GMEM_HOLE_START);
	if (end > low_end(m))
		return diag_fail(d, -EFBIG,
			"%s: needs %llu MiB at 0x%llx, but the guest has %llu MiB of memory; give "
			"it at least %llu MiB",
			b->name, (unsigned long long)(align_up(end - start, MIB) / MIB),
			(unsigned long long)start, (unsigned long long)(m->ram_bytes / MIB),
			(unsigned long long)(align_up(end, 4 * MIB) / MIB));
	return 0;
}

static int kernel_load(
	struct gmem *m, const struct blob *b, struct loader_image *image, struct diag *d)
{
	if (b->len_bytes >= SELFMAG && !memcmp(b->data, ELFMAG, SELFMAG))
		return loader_elf(m, b, true, image, d);
	if (bzimage_is(b))
		return loader_bzimage(m, b, image, d);
	return diag_fail(d, -ENOEXEC,
		"%s: is not a kernel (%zu bytes): expected an ELF file (7f 45 4c 46 at offset 0) "
		"or "
		"a bzImage (\"HdrS\" at offset 0x202)",
		b->name, b->len_bytes);
}

static int cmdline_load(
	struct gmem *m, const char *cmdline, const struct loader_image *image, struct diag *d)
{
	size_t len = strlen(cmdline), max = CONFIG_CMDLINE_MAX;

	if (image->cmdline_max < max)
		max = image->cmdline_max;
	if (len > max)
		return diag_fail(d, -EINVAL,
			"the command line has %zu bytes; this kernel takes at most %zu", len, max);
	CHECK(gmem_write(m, GPA(LAYOUT_CMDLINE), cmdline, len + 1));
	return 0;
}

/* As high as possible: the kernel's early allocations start at its end and grow upwards. */
static int initrd_load(struct gmem *m, const struct blob *b, const struct loader_image *image,
	struct loader_initrd *initrd, struct diag *d)
{
	uint64_t bottom = align_up(image->end, GMEM_PAGE), top = low_end(m);

	if (image->initrd_end < top)
		top = image->initrd_end;
	top &= ~(GMEM_PAGE - 1);
	if (top < bottom || align_up(b->len_bytes, GMEM_PAGE) > top - bottom)
		return diag_fail(d, -EFBIG,
			"%s: the initrd needs %llu MiB, but between the kernel's end (0x%llx) and "
			"0x%llx there is no room for it; give the guest at least %llu MiB of "
			"memory "
			"(this kernel takes an initrd below 0x%llx)",
			b->name, (unsigned long long)(align_up(b->len_bytes, MIB) / MIB),
			(unsigned long long)image->end, (unsigned long long)top,
			(unsigned long long)(align_up(bottom + b->len_bytes, 4 * MIB) / MIB),
			(unsigned long long)image->initrd_end);
	initrd->start = top - align_up(b->len_bytes, GMEM_PAGE);
	initrd->size_bytes = b->len_bytes;
	CHECK(gmem_write(m, GPA(initrd->start), b->data, b->len_bytes));
	return 0;
}

int loader_load(
	struct gmem *m, const struct loader_params *p, struct boot_entry *entry, struct diag *d)
{
	struct loader_image image = {0};
	struct loader_initrd initrd = {0};
	int err;

	err = kernel_load(m, p->kernel, &image, d);
	if (!err)
		err = cmdline_load(m, p->cmdline ? p->cmdline : "", &image, d);
	if (!err && p->initrd)
		err = initrd_load(m, p->initrd, &image, &initrd, d);
	if (err)
		return err;

	boot_tables_write(m);
	entry->protocol = image.protocol;
	entry->entry = image.entry;
	if (image.protocol == BOOT_PVH)
		entry->info = start_info_write(m, &initrd, p->rsdp);
	else
		entry->info = boot_params_write(m, &image, &initrd, p->rsdp);
	return 0;
}
