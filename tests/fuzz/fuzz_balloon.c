/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the balloon: the input is a script of a hostile driver and of an impatient host. */
#include <stdlib.h>

#include "core/check.h"
#include "support/device_script.h"
#include "support/fake_io.h"
#include "virtio/balloon.h"

#define CALLS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static struct device_rig rig;
static struct balloon balloon;
static struct fuzz_call {
	struct balloon_stats_call call;
	bool out;
} calls[CALLS];
static bool held; /* nothing is given back for the time being */

static void stats_done(struct balloon_stats_call *call, enum status status)
{
	struct fuzz_call *f = container_of(call, struct fuzz_call, call);

	CHECK(f->out && (status == STATUS_OK || !call->count) && call->count <= BALLOON_STATS_MAX);
	f->out = false;
}

static void hold(struct reactor *r, bool on)
{
	if (on != held)
		fake_io_hold(r, rig.mem.memfd, on);
	held = on;
}

static void special(struct device_script *s, uint8_t choice)
{
	struct fuzz_call *f = &calls[choice % CALLS];

	switch (choice % 4) {
	case 0:
		(choice & 4 ? balloon_reclaim : balloon_request)(
			&balloon, (uint32_t)device_script_next(s, 4));
		break;
	case 1:
		fake_io_advance_ns(s->reactor, device_script_next(s, 1) << 26);
		break;
	case 2:
		hold(s->reactor, device_script_next(s, 1) & 1);
		break;
	default:
		if (f->out)
			break;
		f->out = true;
		f->call.done = stats_done;
		balloon_get_stats(&balloon, &f->call);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct reactor *r = fake_io_create(1);
	struct device_script s = {.rig = &rig,
		.reactor = r,
		.at = data,
		.end = data + len_bytes,
		.features = BALLOON_F_MUST_TELL_HOST | BALLOON_F_STATS_VQ |
			    BALLOON_F_DEFLATE_ON_OOM | BALLOON_F_PAGE_REPORTING,
		.base = DEVICE_RIG_BUFFERS,
		.special = special};
	uint64_t out = 0;

	device_rig_init(&rig, r);
	CHECK(!balloon_init(&balloon, &rig.env, NULL));
	device_rig_attach(&rig, &balloon.dev);
	device_script_run(&s);
	hold(r, false);
	for (unsigned int i = 0; i < CALLS; i++)
		out += calls[i].out;
	CHECK(!out);
	balloon_finish(&balloon);
	fake_io_destroy(r);
	device_rig_finish(&rig);
	return 0;
}
