/* SPDX-License-Identifier: Apache-2.0 */
/* hostile: runs the cases, judges what became of the device, and shows that it recovers. */
#include "clock.h"
#include "commands.h"
#include "hostile.h"
#include "lib.h"
#include "page.h"
#include "smp.h"
#include "vsock.h"
#include "x86.h"

#define QUEUE_SIZE       16
#define ROUND_TIMEOUT_US 10000000
#define STRICT_US        5000000    /* a device that must react has that long */
#define SILENT_US        50000      /* where silence is as good */
#define F_SEQPACKET      (1UL << 1) /* of vsock */
#define ROUND_BYTES      64
#define ROUND_TEXT       "hostile: alive\n"

/* --- for the cases --- */

bool hostile_start(struct hostile *h)
{
	return virtio_start(&h->dev, h->queue_count, h->features, &h->options);
}

bool hostile_stop(struct hostile *h)
{
	return virtio_stop(&h->dev);
}

bool hostile_round(struct hostile *h)
{
	struct vring_segment segment = {(uint64_t)h->scratch, ROUND_BYTES};
	uint64_t token;
	uint32_t written;
	if (h->dev.type == VIRTIO_CONSOLE) {
		memcpy(h->scratch, ROUND_TEXT, sizeof(ROUND_TEXT) - 1);
		segment.len_bytes = sizeof(ROUND_TEXT) - 1;
	} else if (h->dev.type == VIRTIO_VSOCK) {
		/* Nothing comes back for an RST to nobody. */
		struct vsock_header reset = {.src_cid = hostile_vsock_cid(h),
			.dst_cid = VSOCK_CID_HOST,
			.type = VSOCK_TYPE_STREAM,
			.op = VSOCK_OP_RST};
		memcpy(h->scratch, &reset, sizeof(reset));
		segment.len_bytes = sizeof(reset);
	} else {
		memset(h->scratch, 0, ROUND_BYTES);
	}
	if (!vring_add(&h->queue->ring, &segment, h->reads, !h->reads, 1))
		return fail("no room in the ring");
	if (vring_show(&h->queue->ring))
		virtio_kick(h->queue);
	if (!virtio_wait(h->queue, ROUND_TIMEOUT_US))
		return fail(
			"a correct chain does not come back, status 0x%x", virtio_status(&h->dev));
	if (!vring_take(&h->queue->ring, &token, &written))
		return fail("the device used what was not its own");
	if (written > (h->reads ? 0 : ROUND_BYTES) || (!h->reads && !written))
		return fail("the device wrote %u bytes", written);
	return true;
}

unsigned hostile_outcome(const struct hostile *h, unsigned allows)
{
	uint64_t limit_us = allows & OUTCOME_SILENT ? SILENT_US : STRICT_US;
	uint64_t start = rdtsc(), limit = limit_us * clock_tsc_khz() / 1000;
	uint32_t id, written;
	do {
		if (virtio_status(&h->dev) & VIRTIO_S_NEEDS_RESET)
			return OUTCOME_BROKEN;
		if (h->queue->ring.pages && vring_peek(&h->queue->ring, &id, &written))
			return written ? OUTCOME_DONE : OUTCOME_EMPTY;
	} while (rdtsc() - start < limit);
	return OUTCOME_SILENT;
}

static void desc_put(
	volatile struct vring_desc *to, const struct raw *raw, bool packed, uint16_t more_flags)
{
	uint16_t flags = raw->flags | more_flags;
	to->address = raw->address;
	to->len_bytes = raw->len_bytes;
	to->mid = packed ? raw->next : flags;
	__asm__ volatile("" ::: "memory"); /* packed: the flags make it count */
	to->tail = packed ? flags : raw->next;
}

void hostile_table(const struct hostile *h, uint8_t *table, const struct raw *descs, unsigned count)
{
	volatile struct vring_desc *to = (volatile struct vring_desc *)table;
	for (unsigned i = 0; i < count; i++)
		desc_put(&to[i], &descs[i], h->options.packed, 0);
}

void hostile_avail_put(struct hostile *h, uint16_t at, uint16_t head)
{
	h->queue->ring.driver[2 + at % h->queue->ring.params.size] = head;
}

void hostile_index_put(struct hostile *h, uint16_t index)
{
	__asm__ volatile("" ::: "memory");
	h->queue->ring.driver[1] = index;
}

void hostile_offer(struct hostile *h, const struct raw *descs, unsigned count)
{
	struct vring *ring = &h->queue->ring;
	uint16_t avail = h->options.packed ? VRING_DESC_AVAIL : 0;
	for (unsigned i = count; i--;) /* packed: the first one last */
		desc_put(&ring->desc[i], &descs[i], h->options.packed, avail);
	if (!h->options.packed) {
		hostile_avail_put(h, 0, 0);
		hostile_index_put(h, 1);
	}
	virtio_kick(h->queue);
}

/* --- the frame --- */

static const struct {
	const struct hostile_case *cases;
	const unsigned *count;
} groups[] = {
	{hostile_chain_cases, &hostile_chain_count},
	{hostile_table_cases, &hostile_table_count},
	{hostile_queue_cases, &hostile_queue_count},
	{hostile_register_cases, &hostile_register_count},
	{hostile_storm_cases, &hostile_storm_count},
	{hostile_interrupt_cases, &hostile_interrupt_count},
	{hostile_vsock_cases, &hostile_vsock_count},
	{hostile_vsock_peer_cases, &hostile_vsock_peer_count},
	{hostile_memory_cases, &hostile_memory_count},
};

static const char *outcome_name(unsigned outcome)
{
	switch (outcome) {
	case OUTCOME_BROKEN:
		return "needs reset";
	case OUTCOME_EMPTY:
		return "returned empty";
	case OUTCOME_DONE:
		return "served";
	case OUTCOME_SILENT:
		return "nothing happened";
	case OUTCOME_REFUSED:
		return "refused";
	default:
		return "as it should be";
	}
}

/* NULL: the case can be run here. */
static const char *obstacle(const struct hostile *h, const struct hostile_case *hostile_case)
{
	unsigned needs = hostile_case->needs;
	if ((needs & NEEDS_SPLIT) && h->options.packed)
		return "for split rings";
	if ((needs & NEEDS_PACKED) && !h->options.packed)
		return "for packed rings";
	if ((needs & NEEDS_INDIRECT) && !(h->dev.offered & VIRTIO_F_INDIRECT_DESC))
		return "the device has no indirect descriptors";
	if ((needs & NEEDS_EVENT_IDX) && !(h->dev.offered & VIRTIO_F_EVENT_IDX))
		return "the device has no EVENT_IDX";
	if ((needs & NEEDS_RING_RESET) && !(h->dev.offered & VIRTIO_F_RING_RESET))
		return "the device cannot reset one queue";
	if ((needs & NEEDS_MSIX) && !h->dev.msix_cap)
		return "the device has no MSI-X";
	if ((needs & NEEDS_INTX) && !hostile_intx_gsi(h))
		return "where INTx goes is not known";
	if ((needs & NEEDS_TWO_CPUS) && smp_online() < 2)
		return "one CPU";
	if ((needs & NEEDS_RNG) && h->dev.type != VIRTIO_RNG)
		return "for rng";
	if ((needs & NEEDS_VSOCK) && h->dev.type != VIRTIO_VSOCK)
		return "for vsock";
	if ((needs & NEEDS_SEQPACKET) && !(h->dev.offered & F_SEQPACKET))
		return "the device knows no messages";
	struct virtio_dev other;
	if ((needs & NEEDS_BALLOON) && !virtio_find(VIRTIO_BALLOON, 0, &other))
		return "no balloon";
	if ((needs & NEEDS_MEM) && !virtio_find(VIRTIO_MEM, 0, &other))
		return "no virtio-mem";
	return NULL;
}

static bool case_misbehave(struct hostile *h, const struct hostile_case *hostile_case)
{
	unsigned outcome = 0;
	h->options.indirect = hostile_case->needs & NEEDS_INDIRECT;
	h->features = hostile_case->needs & NEEDS_RING_RESET ? VIRTIO_F_RING_RESET : 0;
	h->features |= hostile_case->needs & NEEDS_SEQPACKET ? F_SEQPACKET : 0;
	h->options.event_idx = h->dev.offered & VIRTIO_F_EVENT_IDX;
	if (!hostile_start(h) || !hostile_case->run(h, &outcome))
		return false;
	if (!outcome)
		outcome = hostile_outcome(h, hostile_case->allows);
	print("hostile %s: %s\n", hostile_case->name, outcome_name(outcome));
	return outcome & hostile_case->allows ? true : fail("%s", outcome_name(outcome));
}

static bool case_run(struct hostile *h, const struct hostile_case *hostile_case)
{
	bool ok = case_misbehave(h, hostile_case);
	if (!hostile_stop(h)) {
		memset(h->dev.queues, 0, sizeof(h->dev.queues)); /* the rings stay the device's */
		return false;
	}
	if (!ok)
		return false;
	h->options.indirect = false;
	h->features = 0;
	ok = hostile_start(h) && hostile_round(h);
	return hostile_stop(h) && ok;
}

/* Runs one case and says how it went; true also when it cannot be run here. */
static bool case_report(struct hostile *h, const struct hostile_case *hostile_case)
{
	const char *why = obstacle(h, hostile_case);
	if (why) {
		print("VERDICT hostile %s skipped: %s\n", hostile_case->name, why);
		return true;
	}
	if (!case_run(h, hostile_case)) {
		print("VERDICT hostile %s failed: %s\n", hostile_case->name, fail_reason());
		return false;
	}
	print("VERDICT hostile %s ok\n", hostile_case->name);
	return true;
}

static bool cases_run(struct hostile *h, const char *name)
{
	bool all = !strcmp(name, "all");
	unsigned found = 0, failed = 0;
	for (size_t g = 0; g < ARRAY_SIZE(groups); g++)
		for (unsigned i = 0; i < *groups[g].count; i++) {
			const struct hostile_case *one = &groups[g].cases[i];
			if (!all && strcmp(one->name, name))
				continue;
			found++;
			failed += !case_report(h, one);
		}
	if (!found)
		return fail("no case %s, see hostile list", name);
	if (all)
		print("hostile: %u cases, %u failed\n", found, failed);
	return failed > 1 ? fail("%u cases failed", failed) : !failed;
}

static bool cases_list(void)
{
	for (size_t g = 0; g < ARRAY_SIZE(groups); g++)
		for (unsigned i = 0; i < *groups[g].count; i++) {
			const struct hostile_case *one = &groups[g].cases[i];
			print("%s%s%s%s%s%s%s%s\n", one->name,
				one->needs & NEEDS_SPLIT ? " split" : "",
				one->needs & NEEDS_PACKED ? " packed" : "",
				one->needs & NEEDS_TWO_CPUS ? " cpus=2" : "",
				one->needs & NEEDS_RNG ? " rng" : "",
				one->needs & NEEDS_VSOCK ? " vsock" : "",
				one->needs & NEEDS_BALLOON ? " balloon" : "",
				one->needs & NEEDS_MEM ? " mem" : "");
		}
	return true;
}

static const struct target {
	const char *name;
	uint16_t type;
	unsigned queue_count, queue; /* how many are used, and which one is maltreated */
	bool reads;
} targets[] = {
	{"rng", VIRTIO_RNG, 1, 0, false},
	{"console", VIRTIO_CONSOLE, 2, 1, true},
	{"vsock", VIRTIO_VSOCK, 3, 1, true},
};

static const struct target *target_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
		if (!strcmp(targets[i].name, name))
			return &targets[i];
	return NULL;
}

bool cmd_hostile(const struct args *args)
{
	static struct hostile h;
	memset(&h, 0, sizeof(h));
	h.options.queue_size = QUEUE_SIZE;
	if (args->count < 2 || !strcmp(args->words[1], "list"))
		return cases_list();
	const struct target *target = &targets[0];
	for (unsigned i = 2; i < args->count; i++) {
		const struct target *named = target_find(args->words[i]);
		if (named)
			target = named;
		else if (!virtio_option_parse(args->words[i], &h.options))
			return fail("%s is no option", args->words[i]);
	}
	/* The services let go of their device; "vsock start" brings them back. */
	if ((target->type == VIRTIO_VSOCK && !vsock_stop()) ||
		!virtio_find(target->type, 0, &h.dev))
		return false;
	h.queue_count = target->queue_count;
	h.queue = &h.dev.queues[target->queue];
	h.reads = target->reads;
	h.flags = h.reads ? 0 : VRING_DESC_WRITE;
	h.scratch = page_alloc(HOSTILE_SCRATCH / PAGE_SIZE);
	if (!h.scratch)
		return fail("no memory");
	bool ok = cases_run(&h, args->words[1]);
	if (hostile_stop(&h)) /* else the device may still write there */
		page_free(h.scratch, HOSTILE_SCRATCH / PAGE_SIZE);
	return ok;
}
