/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI tables: RSDP → XSDT or RSDT → MADT, FADT (and the DSDT's _S5), MCFG. */
#include "acpi.h"

#include "lib.h"
#include "x86.h"

#define S5_DEFAULT 5 /* what machines with hardware-reduced ACPI use */

struct acpi_info acpi_info;

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
} __attribute__((packed));

struct table {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem[26];
	uint8_t body[];
} __attribute__((packed));

struct generic_address {
	uint8_t space, bit_width, bit_offset, access_size;
	uint64_t address;
} __attribute__((packed));

/* Offsets in the FADT (ACPI 6.4 §5.2.9). */
enum {
	FADT_DSDT = 40,
	FADT_PM1A_CONTROL = 64,
	FADT_RESET_REGISTER = 116,
	FADT_RESET_VALUE = 128,
	FADT_X_DSDT = 140,
	FADT_SLEEP_CONTROL = 244,
};

/* Types of the MADT's structures (ACPI 6.4 §5.2.12). */
enum {
	MADT_LOCAL_APIC = 0,
	MADT_IO_APIC = 1,
	MADT_ISA_OVERRIDE = 2,
	MADT_LOCAL_X2APIC = 9,
	MADT_WAKEUP = 0x10,
};

#define MADT_CPU_ENABLED 1

static uint16_t load16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t load32(const uint8_t *at)
{
	return load16(at) | (uint32_t)load16(at + 2) << 16;
}

static uint64_t load64(const uint8_t *at)
{
	return load32(at) | (uint64_t)load32(at + 4) << 32;
}

static bool sum_is_zero(const void *data, size_t len)
{
	uint8_t sum = 0;
	for (const uint8_t *byte = data; len; len--)
		sum = (uint8_t)(sum + *byte++);
	return sum == 0;
}

static bool table_is_valid(const struct table *table)
{
	if (table->length >= sizeof(*table) && table->length < MIB &&
		sum_is_zero(table, table->length))
		return true;
	print("acpi: bad table at %p\n", (const void *)table);
	return false;
}

static const struct rsdp *rsdp_find(uint64_t given)
{
	if (given)
		return (const struct rsdp *)given;
	for (uint64_t at = 0xe0000; at < 0x100000; at += 16)
		if (!memcmp((const void *)at, "RSD PTR ", 8) && sum_is_zero((const void *)at, 20))
			return (const struct rsdp *)at;
	return NULL;
}

static void cpu_add(uint32_t apic_id, uint32_t flags)
{
	if ((flags & MADT_CPU_ENABLED) && acpi_info.cpu_count < CPU_MAX)
		acpi_info.apic_ids[acpi_info.cpu_count++] = apic_id;
}

static void madt_read_entry(const uint8_t *entry, uint8_t len)
{
	if (entry[0] == MADT_LOCAL_APIC && len >= 8) {
		cpu_add(entry[3], load32(entry + 4));
	} else if (entry[0] == MADT_LOCAL_X2APIC && len >= 16) {
		cpu_add(load32(entry + 4), load32(entry + 8));
	} else if (entry[0] == MADT_IO_APIC && len >= 12 && load32(entry + 8) == 0) {
		acpi_info.ioapic_address = load32(entry + 4);
	} else if (entry[0] == MADT_ISA_OVERRIDE && len >= 10 && entry[3] < 16) {
		acpi_info.isa_gsi[entry[3]] = load32(entry + 4);
		acpi_info.isa_flags[entry[3]] = load16(entry + 8);
	} else if (entry[0] == MADT_WAKEUP && len >= 16) {
		acpi_info.wakeup_mailbox = load64(entry + 8);
	}
}

static void madt_read(const struct table *madt)
{
	const uint8_t *at = madt->body + 8, *end = (const uint8_t *)madt + madt->length;
	while (end - at >= 2 && at[1] >= 2 && at[1] <= end - at) {
		madt_read_entry(at, at[1]);
		at += at[1];
	}
}

static struct acpi_register register_read(const uint8_t *at)
{
	const struct generic_address *address = (const void *)at;
	return (struct acpi_register){
		.address = address->address, .is_memory = address->space == 0};
}

/*
 * The first element of the DSDT's \_S5 package, when it is written in the usual way: the name, a
 * package of some length, and a byte constant, zero or one.
 */
static uint8_t s5_type_read(const struct table *dsdt)
{
	if (memcmp(dsdt->signature, "DSDT", 4) || !table_is_valid(dsdt))
		return S5_DEFAULT;
	const uint8_t *end = (const uint8_t *)dsdt + dsdt->length;
	for (const uint8_t *at = dsdt->body; end - at > 16; at++) {
		if (memcmp(at, "_S5_\x12", 5))
			continue;
		at += 5 + 1 + (at[5] >> 6) +
		      1; /* package length (its top bits: extra bytes), count */
		if (*at == 0x0a)
			return at[1];
		return *at <= 1 ? *at : S5_DEFAULT;
	}
	return S5_DEFAULT;
}

static void fadt_read(const struct table *table)
{
	const uint8_t *fadt = (const uint8_t *)table;
	if (table->length >= FADT_RESET_VALUE + 1) {
		acpi_info.reset = register_read(fadt + FADT_RESET_REGISTER);
		acpi_info.reset_value = fadt[FADT_RESET_VALUE];
	}
	if (table->length >= FADT_SLEEP_CONTROL + 12)
		acpi_info.sleep_control = register_read(fadt + FADT_SLEEP_CONTROL);
	acpi_info.pm1a_control = load16(fadt + FADT_PM1A_CONTROL);

	uint64_t dsdt = load32(fadt + FADT_DSDT);
	if (table->length >= FADT_X_DSDT + 8 && load64(fadt + FADT_X_DSDT))
		dsdt = load64(fadt + FADT_X_DSDT);
	acpi_info.sleep_type_s5 = dsdt ? s5_type_read((const struct table *)dsdt) : S5_DEFAULT;
}

static void mcfg_read(const struct table *mcfg)
{
	for (uint32_t at = 44; at + 16 <= mcfg->length; at += 16) {
		const uint8_t *entry = (const uint8_t *)mcfg + at;
		if (load16(entry + 8) != 0)
			continue;
		acpi_info.ecam_address = load64(entry);
		acpi_info.ecam_bus_first = entry[10];
		acpi_info.ecam_bus_last = entry[11];
		return;
	}
}

static void table_read(const struct table *table)
{
	static const struct {
		char signature[5];
		void (*read)(const struct table *table);
	} readers[] = {{"APIC", madt_read}, {"FACP", fadt_read}, {"MCFG", mcfg_read}};

	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		if (!memcmp(table->signature, readers[i].signature, 4) && table_is_valid(table))
			readers[i].read(table);
}

void acpi_init(uint64_t rsdp_address)
{
	for (uint32_t i = 0; i < 16; i++)
		acpi_info.isa_gsi[i] = i;
	acpi_info.sleep_type_s5 = S5_DEFAULT;

	const struct rsdp *rsdp = rsdp_find(rsdp_address);
	if (!rsdp || memcmp(rsdp->signature, "RSD PTR ", 8)) {
		print("acpi: no RSDP\n");
		return;
	}
	bool wide = rsdp->revision >= 2 && rsdp->xsdt;
	const struct table *root = (const struct table *)(wide ? rsdp->xsdt : rsdp->rsdt);
	if (!table_is_valid(root))
		return;
	uint32_t size = wide ? 8 : 4;
	for (uint32_t at = sizeof(*root); at + size <= root->length; at += size) {
		const uint8_t *entry = (const uint8_t *)root + at;
		table_read((const struct table *)(wide ? load64(entry) : load32(entry)));
	}
}

void acpi_register_write(struct acpi_register reg, uint8_t value)
{
	if (reg.is_memory)
		mmio_write8(reg.address, value);
	else
		outb((uint16_t)reg.address, value);
}
