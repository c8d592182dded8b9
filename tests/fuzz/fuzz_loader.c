/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the loader with any bytes as a kernel file; a 32 MiB guest. */

#include "core/check.h"
#include "core/layout.h"
#include "core/loader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static struct gmem memory;

static void memory_init(void)
{
	if (!memory.count)
		CHECK(!gmem_init(&memory,
			&(struct gmem_params){.ram_bytes = 32 << 20, .name = "fuzz"}, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct blob kernel = {
		.data = data, .len_bytes = len_bytes, .name = "input", .kind = BLOB_STATIC};
	struct blob initrd = {.data = (const uint8_t *)"initrd", .len_bytes = 6, .name = "initrd"};
	struct loader_params p = {.kernel = &kernel,
		.initrd = &initrd,
		.cmdline = "console=ttyS0",
		.cpus = 1,
		.rsdp = GPA(LAYOUT_ACPI)};
	struct boot_entry entry;
	struct diag d = {""};
	int err;

	memory_init();
	err = loader_load(&memory, &p, &entry, &d);
	CHECK(err <= 0);
	CHECK((err != 0) == (d.text[0] != 0));
	if (!err) {
		CHECK(entry.entry.v >= LAYOUT_KERNEL_MIN);
		CHECK(gmem_is_ram(&memory, entry.entry, 1));
		CHECK(entry.info.v ==
			(entry.protocol == BOOT_PVH ? LAYOUT_PVH_START_INFO : LAYOUT_ZERO_PAGE));
	}
	return 0;
}
