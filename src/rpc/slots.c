/* SPDX-License-Identifier: Apache-2.0 */
/* Slots: found by name, placed on a reactor, gone when nobody needs them any more. */
#include "rpc/slot_vsock.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"

void slots_init(struct slots *s, struct reactor *control, struct reactor *const *reactors,
	unsigned int reactor_count, const struct guest_env *env)
{
	*s = (struct slots){
		.control = control,
		.reactors = reactors,
		.reactor_count = reactor_count,
		.env = env,
	};
	list_init(&s->list);
}

void slots_told(struct slots *s)
{
	if (s->stopping && s->changed)
		s->changed(s);
}

struct slot *slot_find(struct slots *s, const char *name)
{
	list_for_each (l, &s->list) {
		struct slot *slot = list_entry(l, struct slot, link);

		if (!strcmp(slot->name, name))
			return slot;
	}
	return NULL;
}

/* --- where guests live --- */

static unsigned int reactor_load(const struct slots *s, unsigned int index)
{
	unsigned int load = 0;

	list_for_each (l, &s->list) {
		struct slot *slot = list_entry(l, struct slot, link);

		if (slot->home == index && (slot->made || slot->in_motion))
			load += slot->cpus ? slot->cpus : 1;
	}
	return load;
}

/* The reactor with the fewest virtual CPUs; among equals `preferred`, then the last, since the
 * first one has the control channel as well. */
static unsigned int least_loaded(const struct slots *s, unsigned int preferred)
{
	unsigned int best = preferred, best_load = reactor_load(s, preferred);

	for (unsigned int i = s->reactor_count; i-- > 0;) {
		unsigned int load = reactor_load(s, i);

		if (load < best_load) {
			best = i;
			best_load = load;
		}
	}
	return best;
}

static bool slot_place(struct slot *slot, unsigned int home)
{
	struct slots *s = slot->slots;
	struct guest *g = guest_new(slot->name, s->reactors[home], s->env);
	struct slot_op *op;

	if (!g)
		return false;
	if (slot->guest) {
		op = slot_op_new(slot, SLOT_FREE, NULL, NULL);
		if (!op) {
			free(g); /* as new: guest_free is for its home */
			return false;
		}
		op->slot = NULL;
		slot_op_post(op);
	}
	slot->guest = g;
	slot->home = home;
	return true;
}

/* --- coming and going --- */

static void slot_destroy(struct slot *slot)
{
	struct slots *s = slot->slots;
	struct slot_op *op = slot_op_new(slot, SLOT_FREE, NULL, NULL);

	/* Out of memory: it stays as it is until somebody uses the name or there is memory again.
	 */
	if (!op)
		return;
	op->slot = NULL;
	slot_op_post(op);
	list_del(&slot->link);
	s->count--;
	free(slot);
}

static bool slot_is_idle(const struct slot *slot)
{
	return !slot->refs && !slot->ops && !slot->made && !slot->moving;
}

/* Records of launched guests that have ended make room for new names. */
static void drop_oldest_record(struct slots *s)
{
	list_for_each (l, &s->list) {
		struct slot *slot = list_entry(l, struct slot, link);

		if (slot_is_idle(slot)) {
			slot_destroy(slot);
			return;
		}
	}
}

static struct slot *slot_new(struct slots *s, const char *name)
{
	struct slot *slot;

	if (s->count >= SLOTS_MAX)
		drop_oldest_record(s);
	if (s->count >= SLOTS_MAX)
		return NULL;
	slot = calloc(1, sizeof(*slot));
	if (!slot)
		return NULL;
	slot->slots = s;
	strncpy(slot->name, name, sizeof(slot->name) - 1);
	list_init(&slot->waiting);
	if (!slot_place(slot, least_loaded(s, s->reactor_count - 1))) {
		free(slot);
		return NULL;
	}
	list_add_tail(&s->list, &slot->link);
	s->count++;
	return slot;
}

struct slot *slot_open(struct slots *s, const char *name)
{
	struct slot *slot = slot_find(s, name);

	if (!slot)
		slot = slot_new(s, name);
	if (slot)
		slot_ref(slot);
	return slot;
}

void slot_ref(struct slot *slot)
{
	slot->refs++;
}

void slot_unref(struct slot *slot)
{
	CHECK(slot->refs > 0);
	slot->refs--;
	slot_settle(slot);
}

bool slot_started(const struct slot *slot)
{
	return slot->made || slot->in_motion || slot->moving;
}

static void slot_stopped(struct slot_op *op)
{
	(void)op;
}

/* One Stop behind all that is out; nobody waits for its answer. */
static void slot_abandon(struct slot *slot)
{
	if (!slot->abandoned && (slot_started(slot) || slot->runs))
		slot->abandoned = slot_stop(slot, slot_stopped, NULL);
}

/* --- a Create for another reactor --- */

static void slot_move(struct slot *slot)
{
	struct slot_op *create = slot->moving;

	slot->moving = NULL;
	/* Without memory for a new home the old one has to do. */
	slot_place(slot, create->config.home_core);
	create->guest = slot->guest;
	slot_op_post(create);
	while (!list_empty(&slot->waiting) && !slot->moving) {
		struct slot_op *op = list_first(&slot->waiting, struct slot_op, link);

		list_del(&op->link);
		op->guest = slot->guest;
		slot_op_submit(op);
	}
}

void slot_settle(struct slot *slot)
{
	struct slots *s = slot->slots;

	if (slot->ops == 0)
		slot->abandoned = false;
	if (slot->moving && slot->ops == 0)
		slot_move(slot);
	if (slot->refs == 0 && !slot->moving && (!slot->launched || s->stopping)) {
		slot_abandon(slot);
		if (slot_is_idle(slot))
			slot_destroy(slot);
	}
	slots_told(s);
}

bool slot_create(struct slot *slot, struct guest_config *config, slot_done done, void *ctx)
{
	struct slots *s = slot->slots;
	struct slot_op *op = slot_op_new(slot, SLOT_CREATE, done, ctx);
	bool chosen = (config->given & CONFIG_BIT(CONFIG_HOME_CORE)) &&
		      config->home_core < s->reactor_count;
	unsigned int home = chosen ? config->home_core : least_loaded(s, slot->home);

	if (!op || !slot_listener_list(slot, config, &op->listeners)) {
		if (op) {
			slot_listeners_end(op);
			slot_op_free(op);
		}
		config_finish(config);
		return false;
	}
	config_move(&op->config, config);
	if (home == slot->home || slot->moving) {
		slot_op_submit(op);
	} else if (!slot->made && slot->ops == 0) {
		slot_place(slot, home);
		op->guest = slot->guest;
		slot_op_submit(op);
	} else if (!chosen || (slot->made && slot->runs)) {
		slot_op_submit(op); /* at home; where a guest that runs refuses it */
	} else if (slot_stop(slot, slot_stopped, NULL)) {
		slot->moving = op;
	} else {
		slot_op_submit(op);
	}
	return true;
}

/* --- the daemon's end --- */

void slots_stop(struct slots *s)
{
	s->stopping = true;
	list_for_each_safe (l, &s->list) {
		struct slot *slot = list_entry(l, struct slot, link);

		slot_abandon(slot);
		if (slot_is_idle(slot))
			slot_destroy(slot);
	}
	slots_told(s);
}

bool slots_quiet(const struct slots *s)
{
	list_for_each (l, &s->list) {
		const struct slot *slot = list_entry(l, struct slot, link);

		if (slot->made || slot->ops || slot->moving)
			return false;
	}
	return true;
}

bool slots_empty(const struct slots *s)
{
	return s->count == 0 && s->out == 0;
}
