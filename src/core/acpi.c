/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI tables. Hardware-reduced: no FACS, no fixed events, no PM timer; sleep and reset are one
 * register each, and events come through the DSDT's generic event device. */
#include "core/acpi.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "core/check.h"
#include "core/layout.h"

/* From dsdt.asl, at build time. */
extern const unsigned char acpi_dsdt[];
extern const unsigned int acpi_dsdt_bytes;

#define PACKED __attribute__((packed))

#define TABLE_ALIGN 16

struct rsdp { /* ACPI 6.4 §5.2.5.3 */
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum; /* of all */
	uint8_t reserved[3];
} PACKED;

#define RSDP_V1_BYTES offsetof(struct rsdp, length)

struct header { /* §5.2.6 */
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} PACKED;

struct gas { /* generic address structure, §5.2.3.2 */
	uint8_t space;
	uint8_t width_bits;
	uint8_t offset_bits;
	uint8_t access_size;
	uint64_t address;
} PACKED;

#define GAS_SYSTEM_IO   1
#define GAS_ACCESS_BYTE 1

struct fadt { /* §5.2.9 */
	struct header header;
	uint32_t firmware_ctrl;
	uint32_t dsdt;
	uint8_t fixed_registers[62]; /* of hardware that is not there: zero */
	uint8_t alarms[3];
	uint16_t boot_arch;
	uint8_t reserved;
	uint32_t flags;
	struct gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_version;
	uint64_t x_firmware_ctrl;
	uint64_t x_dsdt;
	struct gas x_fixed_registers[8];
	struct gas sleep_control;
	struct gas sleep_status;
	char hypervisor_id[8];
} PACKED;

#define FADT_REVISION      6
#define FADT_MINOR_VERSION 4
#define FADT_WBINVD        (1u << 0)
#define FADT_PWR_BUTTON    (1u << 4) /* no fixed power button: the DSDT has one */
#define FADT_SLP_BUTTON    (1u << 5) /* no fixed sleep button */
#define FADT_FIX_RTC       (1u << 6) /* no fixed RTC wake status */
#define FADT_RESET_REG_SUP (1u << 10)
#define FADT_HW_REDUCED    (1u << 20)
#define FADT_NO_VGA        (1u << 2)
#define FADT_NO_CMOS_RTC   (1u << 5)

struct madt { /* §5.2.12 */
	struct header header;
	uint32_t lapic_address;
	uint32_t flags; /* 0: no pair of 8259s */
} PACKED;

struct madt_lapic {
	uint8_t type, length;
	uint8_t processor_uid;
	uint8_t apic_id;
	uint32_t flags;
} PACKED;

struct madt_ioapic {
	uint8_t type, length;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t gsi_base;
} PACKED;

struct madt_wakeup { /* §5.2.12.19 */
	uint8_t type, length;
	uint16_t mailbox_version;
	uint32_t reserved;
	uint64_t mailbox;
} PACKED;

#define MADT_REVISION      5
#define MADT_LAPIC         0
#define MADT_LAPIC_ENABLED 1u
#define MADT_IOAPIC        1
#define MADT_WAKEUP        0x10

struct mcfg { /* PCI Firmware Specification 3.0 §4.1.2 */
	struct header header;
	uint64_t reserved;
	uint64_t base;
	uint16_t segment;
	uint8_t bus_first, bus_last;
	uint32_t reserved2;
} PACKED;

struct xsdt {
	struct header header;
	uint64_t tables[3];
} PACKED;

static_assert(sizeof(struct rsdp) == 36, "RSDP");
static_assert(sizeof(struct header) == 36, "table header");
static_assert(offsetof(struct fadt, boot_arch) == 109, "FADT");
static_assert(sizeof(struct fadt) == 276, "FADT");
static_assert(sizeof(struct mcfg) == 60, "MCFG");
/* Larger ids would need x2APIC entries. */
static_assert(LAYOUT_CPUS_MAX <= 255, "local APIC ids have 8 bits");

/* The tables' place in guest memory, filled from its start. Nobody runs yet, so it is written in
 * place. */
struct writer {
	uint8_t *host;
	uint64_t gpa, room_bytes, used_bytes;
};

/* The next `len_bytes`, zeroed, at an address of a table's alignment; NULL if they don't fit. */
static void *writer_take(struct writer *w, size_t len_bytes, uint64_t *gpa)
{
	uint64_t at = (w->used_bytes + TABLE_ALIGN - 1) & ~(uint64_t)(TABLE_ALIGN - 1);

	if (at > w->room_bytes || len_bytes > w->room_bytes - at)
		return NULL;
	w->used_bytes = at + len_bytes;
	*gpa = w->gpa + at;
	memset(w->host + at, 0, len_bytes);
	return w->host + at;
}

/* What, added to the bytes, makes their sum 0. */
static uint8_t checksum(const void *bytes, size_t len_bytes)
{
	const uint8_t *b = bytes;
	uint8_t sum = 0;

	while (len_bytes--)
		sum += *b++;
	return (uint8_t)-sum;
}

/* Fills in the header of a table whose other bytes are final. */
static void table_seal(struct header *h, const char *signature, uint8_t revision, size_t len_bytes)
{
	memcpy(h->signature, signature, sizeof(h->signature));
	h->length = (uint32_t)len_bytes;
	h->revision = revision;
	memcpy(h->oem_id, "RINGVS", sizeof(h->oem_id));
	memcpy(h->oem_table_id, "RINGVSOR", sizeof(h->oem_table_id));
	h->oem_revision = 1;
	memcpy(h->creator_id, "RGVS", sizeof(h->creator_id));
	h->creator_revision = 1;
	h->checksum = 0;
	h->checksum = checksum(h, len_bytes);
}

static struct gas port_byte(uint16_t port)
{
	return (struct gas){
		.space = GAS_SYSTEM_IO,
		.width_bits = 8,
		.access_size = GAS_ACCESS_BYTE,
		.address = port,
	};
}

static bool dsdt_write(struct writer *w, uint64_t *gpa)
{
	void *dsdt = writer_take(w, acpi_dsdt_bytes, gpa);

	if (dsdt)
		memcpy(dsdt, acpi_dsdt, acpi_dsdt_bytes);
	return dsdt;
}

static bool fadt_write(struct writer *w, uint64_t dsdt, uint64_t *gpa)
{
	struct fadt *f = writer_take(w, sizeof(*f), gpa);

	if (!f)
		return false;
	/* LEGACY_DEVICES stays clear: the DSDT names the one such device, COM1. 8042 stays clear
	 * too: of that controller there is only the reset command. */
	f->boot_arch = FADT_NO_VGA | FADT_NO_CMOS_RTC;
	f->flags = FADT_WBINVD | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_FIX_RTC |
		   FADT_RESET_REG_SUP | FADT_HW_REDUCED;
	f->reset_reg = port_byte(LAYOUT_PORT_RESET);
	f->reset_value = LAYOUT_RESET_VALUE;
	f->minor_version = FADT_MINOR_VERSION;
	f->x_dsdt = dsdt;
	f->sleep_control = port_byte(LAYOUT_PORT_SLEEP);
	f->sleep_status = port_byte(LAYOUT_PORT_SLEEP_STATUS);
	memcpy(f->hypervisor_id, "RINGVSOR", sizeof(f->hypervisor_id));
	table_seal(&f->header, "FACP", FADT_REVISION, sizeof(*f));
	return true;
}

static bool madt_write(struct writer *w, const struct acpi_params *p, uint64_t *gpa)
{
	size_t wakeup_bytes = p->wakeup_mailbox ? sizeof(struct madt_wakeup) : 0;
	size_t len_bytes = sizeof(struct madt) + p->cpus * sizeof(struct madt_lapic) +
			   sizeof(struct madt_ioapic) + wakeup_bytes;
	struct madt *m = writer_take(w, len_bytes, gpa);
	struct madt_lapic *lapic;
	struct madt_ioapic *ioapic;

	if (!m)
		return false;
	m->lapic_address = LAYOUT_LAPIC;
	lapic = (struct madt_lapic *)(m + 1);
	for (unsigned int i = 0; i < p->cpus; i++) {
		*lapic++ = (struct madt_lapic){
			.type = MADT_LAPIC,
			.length = sizeof(*lapic),
			.processor_uid = (uint8_t)i,
			.apic_id = (uint8_t)i,
			.flags = MADT_LAPIC_ENABLED,
		};
	}
	/* Every line has the number of its I/O APIC pin: no source overrides. */
	ioapic = (struct madt_ioapic *)lapic;
	*ioapic = (struct madt_ioapic){
		.type = MADT_IOAPIC,
		.length = sizeof(*ioapic),
		.id = 0, /* as KVM's I/O APIC has it after reset */
		.address = LAYOUT_IOAPIC,
	};
	if (p->wakeup_mailbox) {
		*(struct madt_wakeup *)(ioapic + 1) = (struct madt_wakeup){
			.type = MADT_WAKEUP,
			.length = sizeof(struct madt_wakeup),
			.mailbox = LAYOUT_WAKEUP_MAILBOX,
		};
	}
	table_seal(&m->header, "APIC", MADT_REVISION, len_bytes);
	return true;
}

static bool mcfg_write(struct writer *w, uint64_t *gpa)
{
	struct mcfg *m = writer_take(w, sizeof(*m), gpa);

	if (!m)
		return false;
	m->base = LAYOUT_ECAM; /* segment 0, bus 0 to 0 */
	table_seal(&m->header, "MCFG", 1, sizeof(*m));
	return true;
}

static void rsdp_fill(struct rsdp *r, uint64_t xsdt)
{
	memcpy(r->signature, "RSD PTR ", sizeof(r->signature));
	memcpy(r->oem_id, "RINGVS", sizeof(r->oem_id));
	r->revision = 2;
	r->length = sizeof(*r);
	r->xsdt = xsdt;
	r->checksum = checksum(r, RSDP_V1_BYTES);
	r->extended_checksum = checksum(r, sizeof(*r));
}

int acpi_build(struct gmem *m, const struct acpi_params *p, gpa_t *rsdp, struct diag *d)
{
	struct writer w = {.gpa = LAYOUT_ACPI, .room_bytes = LAYOUT_ACPI_END - LAYOUT_ACPI};
	uint64_t rsdp_at, xsdt_at, dsdt_at, fadt_at, madt_at, mcfg_at;
	struct rsdp *r;
	struct xsdt *x;

	CHECK(p->cpus >= 1 && p->cpus <= LAYOUT_CPUS_MAX);
	w.host = gmem_map(m, GPA(w.gpa), w.room_bytes);
	CHECK(w.host); /* GMEM_MIN_BYTES reaches that far */

	/* First, so that a search for the RSDP in the BIOS area finds it at once. */
	r = writer_take(&w, sizeof(*r), &rsdp_at);
	x = writer_take(&w, sizeof(*x), &xsdt_at);
	if (!r || !x || !dsdt_write(&w, &dsdt_at) || !fadt_write(&w, dsdt_at, &fadt_at) ||
		!madt_write(&w, p, &madt_at) || !mcfg_write(&w, &mcfg_at))
		return diag_fail(d, -E2BIG, "the ACPI tables do not fit their %llu KiB",
			(unsigned long long)(w.room_bytes >> 10));
	x->tables[0] = fadt_at;
	x->tables[1] = madt_at;
	x->tables[2] = mcfg_at;
	table_seal(&x->header, "XSDT", 1, sizeof(*x));
	rsdp_fill(r, xsdt_at);
	*rsdp = GPA(rsdp_at);
	return 0;
}
