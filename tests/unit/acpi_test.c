/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI: the tables as a guest walks them, by offsets of the specification, not by our structs. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/acpi.h"
#include "core/layout.h"

#define ROOM (LAYOUT_ACPI_END - LAYOUT_ACPI)

struct fixture {
	struct gmem m;
	uint64_t rsdp;
};

static struct fixture tables_build(unsigned int cpus, bool wakeup_mailbox)
{
	struct fixture f;
	struct diag d = {""};
	gpa_t rsdp;

	cr_assert_eq(
		gmem_init(&f.m, &(struct gmem_params){.ram_bytes = 1 << 20, .name = "acpi"}, &d), 0,
		"%s", d.text);
	cr_assert_eq(acpi_build(&f.m,
			     &(struct acpi_params){.cpus = cpus, .wakeup_mailbox = wakeup_mailbox},
			     &rsdp, &d),
		0, "%s", d.text);
	f.rsdp = rsdp.v;
	return f;
}

static uint64_t number(const struct fixture *f, uint64_t at, unsigned int bytes)
{
	uint64_t value = 0;

	cr_assert(at >= LAYOUT_ACPI && at + bytes <= LAYOUT_ACPI_END, "0x%llx",
		(unsigned long long)at);
	cr_assert(gmem_read(&f->m, GPA(at), &value, bytes));
	return value;
}

static uint8_t sum(const struct fixture *f, uint64_t at, uint64_t len)
{
	uint8_t total = 0;

	while (len--)
		total = (uint8_t)(total + number(f, at++, 1));
	return total;
}

static bool has_text(const struct fixture *f, uint64_t at, const char *text)
{
	const char *there = gmem_map(&f->m, GPA(at), strlen(text));

	return there && !memcmp(there, text, strlen(text));
}

/* Checks what every table has and returns its length. */
static uint64_t table_check(const struct fixture *f, uint64_t at, const char *signature)
{
	uint64_t len = number(f, at + 4, 4);

	cr_assert(has_text(f, at, signature), "%s", signature);
	cr_assert_geq(len, 36);
	cr_assert_leq(at + len, LAYOUT_ACPI_END);
	cr_assert_eq(sum(f, at, len), 0, "checksum of %s", signature);
	return len;
}

/* The address of a table that the XSDT lists. */
static uint64_t table_find(const struct fixture *f, const char *signature)
{
	uint64_t xsdt = number(f, f->rsdp + 24, 8);
	uint64_t len = table_check(f, xsdt, "XSDT");

	for (uint64_t at = xsdt + 36; at < xsdt + len; at += 8) {
		uint64_t table = number(f, at, 8);

		if (has_text(f, table, signature)) {
			table_check(f, table, signature);
			return table;
		}
	}
	cr_assert_fail("no %s", signature);
	return 0;
}

Test(acpi, rsdp_is_found_by_a_search_and_sums_up)
{
	struct fixture f = tables_build(1, false);

	cr_assert_eq(f.rsdp % 16, 0);
	cr_assert_geq(f.rsdp, 0xe0000);
	cr_assert(has_text(&f, f.rsdp, "RSD PTR "));
	cr_assert_eq(number(&f, f.rsdp + 15, 1), 2);
	cr_assert_eq(number(&f, f.rsdp + 20, 4), 36);
	cr_assert_eq(sum(&f, f.rsdp, 20), 0);
	cr_assert_eq(sum(&f, f.rsdp, 36), 0);
	gmem_finish(&f.m);
}

Test(acpi, fadt_is_hardware_reduced_with_reset_and_sleep_registers)
{
	struct fixture f = tables_build(1, false);
	uint64_t fadt = table_find(&f, "FACP"), flags = number(&f, fadt + 112, 4);
	uint64_t io_byte = 0x01000801; /* system I/O, 8 bits, offset 0, byte access */

	cr_assert_eq(number(&f, fadt + 4, 4), 276);
	cr_assert_eq(number(&f, fadt + 8, 1), 6);
	cr_assert_eq(number(&f, fadt + 131, 1), 4);
	cr_assert(flags & 1u << 20, "HW_REDUCED_ACPI");
	cr_assert(flags & 1u << 10, "RESET_REG_SUP");
	cr_assert_eq(number(&f, fadt + 109, 2), 1u << 2 | 1u << 5, "no VGA, no CMOS RTC");
	cr_assert_eq(number(&f, fadt + 116, 4), io_byte);
	cr_assert_eq(number(&f, fadt + 120, 8), LAYOUT_PORT_RESET);
	cr_assert_eq(number(&f, fadt + 128, 1), LAYOUT_RESET_VALUE);
	cr_assert_eq(number(&f, fadt + 244, 4), io_byte);
	cr_assert_eq(number(&f, fadt + 248, 8), LAYOUT_PORT_SLEEP);
	cr_assert_eq(number(&f, fadt + 256, 4), io_byte);
	cr_assert_eq(number(&f, fadt + 260, 8), LAYOUT_PORT_SLEEP_STATUS);
	cr_assert_eq(number(&f, fadt + 132, 8), 0, "no FACS");
	for (uint64_t at = 46; at < 108; at++)
		cr_assert_eq(number(&f, fadt + at, 1), 0, "no fixed hardware");
	table_check(&f, number(&f, fadt + 140, 8), "DSDT");
	gmem_finish(&f.m);
}

static void madt_check(unsigned int cpus, bool wakeup_mailbox)
{
	struct fixture f = tables_build(cpus, wakeup_mailbox);
	uint64_t madt = table_find(&f, "APIC"), len = number(&f, madt + 4, 4), at;
	unsigned int lapics = 0, ioapics = 0, wakeups = 0;

	cr_assert_eq(number(&f, madt + 36, 4), LAYOUT_LAPIC);
	cr_assert_eq(number(&f, madt + 40, 4), 0, "no 8259s");
	for (at = madt + 44; at < madt + len; at += number(&f, at + 1, 1)) {
		uint64_t type = number(&f, at, 1);

		cr_assert_gt(number(&f, at + 1, 1), 1);
		if (type == 0) {
			cr_assert_eq(number(&f, at + 1, 1), 8);
			cr_assert_eq(number(&f, at + 3, 1), lapics);
			cr_assert_eq(number(&f, at + 4, 4), 1);
			lapics++;
		} else if (type == 1) {
			cr_assert_eq(number(&f, at + 1, 1), 12);
			cr_assert_eq(number(&f, at + 4, 4), LAYOUT_IOAPIC);
			cr_assert_eq(number(&f, at + 8, 4), 0);
			ioapics++;
		} else if (type == 0x10) {
			cr_assert_eq(number(&f, at + 1, 1), 16);
			cr_assert_eq(number(&f, at + 2, 2), 0);
			cr_assert_eq(number(&f, at + 8, 8), LAYOUT_WAKEUP_MAILBOX);
			wakeups++;
		} else {
			cr_assert_fail("entry of type %llu", (unsigned long long)type);
		}
	}
	cr_assert_eq(at, madt + len);
	cr_assert_eq(lapics, cpus);
	cr_assert_eq(ioapics, 1);
	cr_assert_eq(wakeups, wakeup_mailbox);
	gmem_finish(&f.m);
}

Test(acpi, madt_lists_the_cpus_and_the_mailbox_only_where_asked)
{
	madt_check(1, false);
	madt_check(2, true);
	madt_check(LAYOUT_CPUS_MAX, false);
	madt_check(LAYOUT_CPUS_MAX, true);
}

Test(acpi, mcfg_is_one_bus_of_ecam)
{
	struct fixture f = tables_build(1, false);
	uint64_t mcfg = table_find(&f, "MCFG");

	cr_assert_eq(number(&f, mcfg + 4, 4), 60);
	cr_assert_eq(number(&f, mcfg + 44, 8), LAYOUT_ECAM);
	cr_assert_eq(number(&f, mcfg + 52, 8), 0, "segment 0, bus 0 to 0");
	gmem_finish(&f.m);
}

Test(acpi, a_rebuild_leaves_nothing_of_the_last)
{
	struct fixture f = tables_build(3, true);
	uint8_t *tables = gmem_map(&f.m, GPA(LAYOUT_ACPI), ROOM), *copy = malloc(ROOM);
	gpa_t rsdp;

	cr_assert(tables && copy);
	memcpy(copy, tables, ROOM);
	cr_assert_eq(acpi_build(&f.m, &(struct acpi_params){.cpus = 3, .wakeup_mailbox = true},
			     &rsdp, NULL),
		0);
	cr_assert_eq(memcmp(copy, tables, ROOM), 0);
	free(copy);
	gmem_finish(&f.m);
}

static void disassemble(const struct fixture *f, const char *folder, const char *signature)
{
	char path[256], command[1024];
	uint64_t at = !strcmp(signature, "DSDT") ? number(f, table_find(f, "FACP") + 140, 8)
						 : table_find(f, signature);
	uint64_t len = number(f, at + 4, 4);
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.aml", folder, signature);
	file = fopen(path, "wb");
	cr_assert(file);
	cr_assert_eq(fwrite(gmem_map(&f->m, GPA(at), len), 1, len, file), len);
	fclose(file);
	/* iasl says "invalid" or "**** …" of a table that it takes exception to. */
	snprintf(command, sizeof(command),
		"cd %s && iasl -vs -d %s.aml >log 2>&1 && ! grep -Ei 'warn|error|invalid' log && "
		"! grep -Ei 'invalid|unknown|\\*\\*\\*\\*' %s.dsl",
		folder, signature, signature);
	cr_assert_eq(system(command), 0, "%s", signature);
}

Test(acpi, the_reference_disassembler_takes_every_table)
{
	static const char *const tables[] = {"FACP", "APIC", "MCFG", "DSDT"};
	char folder[] = "/tmp/acpi_test.XXXXXX", command[64];
	/* Debian 12's iasl is older than the wakeup structure. */
	struct fixture f = tables_build(2, false);

	if (system("command -v iasl >/dev/null") != 0)
		cr_skip_test("iasl is not installed");
	cr_assert(mkdtemp(folder));
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		disassemble(&f, folder, tables[i]);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	cr_assert_eq(system(command), 0);
	gmem_finish(&f.m);
}
