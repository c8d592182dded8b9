/* SPDX-License-Identifier: Apache-2.0 */
/* A guest of a few instructions on the test's own thread. */
#include "support/tiny_guest.h"

#include <criterion/criterion.h>

#include "core/check.h"
#include "support/guest_rig.h"

#define FLAT_CODE32 0x00cf9b000000ffffULL
#define FLAT_DATA   0x00cf93000000ffffULL

static bool access_here(struct vcpu *v, struct mailbox_exit *e)
{
	struct tiny_guest *t = v->owner;

	e->mark = vm_coalesced_mark(v->vm);
	if (!e->is_write)
		e->data = TINY_NOT_THERE;
	if (t->take && t->take(e))
		return true;
	cr_assert_lt(t->exit_count, ARRAY_SIZE(t->exits));
	t->exits[t->exit_count++] = *e;
	return true;
}

static void put_descriptor(struct tiny_guest *t, unsigned int selector, uint64_t descriptor)
{
	cr_assert(gmem_write(
		&t->mem, GPA(LAYOUT_BOOT_GDT + selector), &descriptor, sizeof(descriptor)));
}

void tiny_start(struct tiny_guest *t, const uint8_t *code, size_t len_bytes)
{
	struct boot_entry entry = {.protocol = BOOT_PVH, .entry = GPA(TINY_CODE_AT)};
	struct gmem_params mem = {.ram_bytes = GMEM_MIN_BYTES, .name = "tiny guest"};
	struct diag d;

	rig_skip_without_kvm();
	cr_assert_eq(vm_host_open(&t->host, NULL, &d), 0, "%s", d.text);
	cr_assert_eq(gmem_init(&t->mem, &mem, &d), 0, "%s", d.text);
	cr_assert_eq(vm_create(&t->vm, &t->host, &d), 0, "%s", d.text);
	cr_assert_eq(vm_map_gmem(&t->vm, &t->mem, &d), 0, "%s", d.text);
	cr_assert_eq(vcpu_create(&t->vcpu, &t->vm, &t->mem, 0, 1, &d), 0, "%s", d.text);
	cr_assert(gmem_write(&t->mem, GPA(TINY_CODE_AT), code, len_bytes));
	put_descriptor(t, LOADER_CS32, FLAT_CODE32);
	put_descriptor(t, LOADER_DS, FLAT_DATA);
	t->vcpu.access = access_here;
	t->vcpu.owner = t;
	cr_assert_eq(vcpu_set_boot(&t->vcpu, &entry, &d), 0, "%s", d.text);
}

void tiny_finish(struct tiny_guest *t)
{
	vcpu_finish(&t->vcpu);
	vm_destroy(&t->vm);
	gmem_finish(&t->mem);
	vm_host_close(&t->host);
}

const struct mailbox_exit *tiny_run_to(struct tiny_guest *t, uint16_t port)
{
	t->exit_count = 0;
	for (;;) {
		const struct mailbox_exit *last;

		cr_assert(vcpu_run_once(&t->vcpu), "%d: %s", t->vcpu.end, t->vcpu.diag.text);
		if (!t->exit_count)
			continue;
		last = &t->exits[t->exit_count - 1];
		if (last->kind == BUS_PIO && last->is_write && last->addr == port)
			return last;
	}
}
