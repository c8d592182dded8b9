/* SPDX-License-Identifier: Apache-2.0 */
/* Create, then Run and Bind at once: that Bind finds a VMM says that Run has started it. */
#include "rpc/launch.h"

#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "rpc/config_table.h"
#include "rpc/object_acceptor.h"
#include "rpc/object_guest.h"
#include "rpc/server.h"

/* From the call to the end of the guest's Run. */
struct launch {
	struct slot *slot; /* counted */
	struct call *call; /* NULL: answered */
	bool running;      /* Run is out */
	bool binding;      /* Bind is out */
	bool ended;        /* Run's result is below */
	enum guest_error err;
	char *detail;
};

/* --- answers --- */

static void launch_fail(struct launch *l, enum guest_error err, const char *detail)
{
	call_fail(l->call, DOMAIN_MANAGER, MANAGER_START_FAILURE, "%s: %s", guest_error_name(err),
		detail ? detail : "no more is known");
	l->call = NULL;
}

static void launch_free_if_over(struct launch *l)
{
	if (l->running || l->binding)
		return;
	/* Bind came too late, since the guest has run to its end already: then Run's result is the
	 * launch's. */
	if (l->call && l->ended && l->err)
		launch_fail(l, l->err, l->detail);
	else if (l->call)
		call_done_ended(l->call, STATUS_OK);
	slot_unref(l->slot);
	free(l->detail);
	free(l);
}

static void launch_ended(struct slot_op *op)
{
	struct launch *l = op->ctx;

	l->running = false;
	l->ended = true;
	l->err = op->err;
	l->detail = op->detail;
	op->detail = NULL;
	launch_free_if_over(l);
}

static void launch_bound(struct slot_op *op)
{
	struct launch *l = op->ctx;

	l->binding = false;
	if (!op->err && l->call)
		guest_object_open(l->call, op->holder_link);
	else if (!op->err)
		guest_link_drop(op->holder_link);
	if (!op->err)
		l->call = NULL;
	launch_free_if_over(l);
}

static void launch_created(struct slot_op *op)
{
	struct launch *l = op->ctx;
	struct guest_link *link;

	if (op->err) {
		launch_fail(l, op->err, op->detail);
		launch_free_if_over(l);
		return;
	}
	acceptor_objects_open(l->call, op);
	link = guest_object_link(l->slot);
	l->running = link && slot_run(l->slot, launch_ended, l);
	l->binding = l->running && slot_bind(l->slot, link, launch_bound, l);
	if (l->binding)
		return;
	if (link && !l->running)
		guest_link_discard(link);
	launch_fail(l, GUEST_INTERNAL_ERROR, "the daemon is out of memory");
	launch_free_if_over(l);
}

/* --- the call --- */

/* The config's own faults are BAD_CONFIG here; a disk that this VMM cannot write is for Create to
 * tell. Everything is checked once more there. */
static bool config_passes(
	struct call *call, struct server *s, struct guest_config *config, struct codec_fault *fault)
{
	enum guest_error err;

	if (config_table_decode(&call->msg, &call->frame, config, fault) != CODEC_OK)
		return false;
	err = config_check(config, &s->params.env->limits, &fault->text);
	fault->domain = DOMAIN_MANAGER;
	fault->code = MANAGER_BAD_CONFIG;
	return err == GUEST_OK ||
	       (err == GUEST_DEVICE_START_FAILURE && !config_listeners_clash(config));
}

static struct launch *launch_new(struct server *s, const char *name, struct call *call)
{
	struct launch *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->slot = slot_open(&s->slots, name);
	if (!l->slot) {
		free(l);
		return NULL;
	}
	l->call = call;
	return l;
}

static void launch_config(
	struct call *call, struct server *s, const char *name, struct guest_config *config)
{
	struct launch *l = launch_new(s, name, call);

	if (!l) {
		call_fail(call, DOMAIN_STATUS, STATUS_NO_RESOURCES,
			"no slot for guest %s: the daemon has %u of at most %d", name,
			s->slots.count, SLOTS_MAX);
		return;
	}
	l->slot->launched = true;
	if (slot_create(l->slot, config, launch_created, l))
		return;
	launch_fail(l, GUEST_INTERNAL_ERROR, "the daemon is out of memory");
	launch_free_if_over(l);
}

void launch_start(struct call *call, struct server *s)
{
	struct wire_string wire_name = call->msg.p.launch.name;
	char name[GUEST_NAME_MAX + 1] = "";
	struct guest_config config;
	struct codec_fault fault;
	struct slot *slot;

	memcpy(name, wire_name.ptr, wire_name.len_bytes);
	slot = slot_find(&s->slots, name);
	config_init(&config);
	if (s->stopping)
		call_fail(call, DOMAIN_STATUS, STATUS_BAD_STATE, "the daemon is stopping");
	else if (slot && slot_started(slot))
		call_fail(call, DOMAIN_MANAGER, MANAGER_ALREADY_RUNNING,
			"guest %s is started already; stop it, or choose another name", name);
	else if (!config_passes(call, s, &config, &fault))
		call_fail(call, fault.domain, fault.code, "%s", fault.text.text);
	else
		launch_config(call, s, name, &config);
	config_finish(&config);
}
