/* SPDX-License-Identifier: Apache-2.0 */
/* The lifecycle: one call at a time while the VMM is being built or torn down. */
#include "core/guest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "trace/probe.h"

/* A VMM on its way between the home reactor and a helper thread. */
struct guest_build {
	struct reactor_job job;
	struct guest *guest;
	struct guest_config config;
	struct machine *machine;
	enum guest_error err;
	struct diag diag;
};

static void guest_enter(struct guest *g, enum guest_state next)
{
	static const bool allowed[5][5] = {
		[GUEST_NONE] = {[GUEST_CREATING] = true},
		[GUEST_CREATING] = {[GUEST_NONE] = true, [GUEST_CREATED] = true},
		[GUEST_CREATED] = {[GUEST_RUNNING] = true, [GUEST_ENDING] = true},
		[GUEST_RUNNING] = {[GUEST_ENDING] = true},
		[GUEST_ENDING] = {[GUEST_NONE] = true},
	};

	CHECK(allowed[g->state][next]);
	PROBE(guest_state, probe_string(g->name), g->state, next);
	g->state = next;
}

/* --- answers: always from a task, never from inside the call
 * ------------------------------------------------ */

static bool guest_answer_all(struct reactor_task *t)
{
	struct guest *g = container_of(t, struct guest, done_task);
	struct list ready;

	/* A `done` may make new calls, or free the guest after the last: nothing of it is touched
	 * behind that. */
	list_init(&ready);
	while (!list_empty(&g->done_calls)) {
		struct list *l = g->done_calls.next;

		list_del(l);
		list_add_tail(&ready, l);
	}
	while (!list_empty(&ready)) {
		struct guest_call *call = list_first(&ready, struct guest_call, link);
		char *detail = call->detail;

		list_del(&call->link);
		call->detail = NULL;
		call->done(call, call->result, detail ? detail : "");
		free(detail);
	}
	return false;
}

static void guest_answer(
	struct guest *g, struct guest_call *call, enum guest_error err, const char *detail)
{
	call->result = err;
	call->detail = err ? strdup(detail) : NULL;
	list_add_tail(&g->done_calls, &call->link);
	reactor_defer(g->home, &g->done_task);
}

__attribute__((format(printf, 4, 5))) static void guest_refuse(
	struct guest *g, struct guest_call *call, enum guest_error err, const char *fmt, ...)
{
	char text[DIAG_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	guest_answer(g, call, err, text);
}

static void guest_tell_watches(struct guest *g, enum status epitaph)
{
	while (!list_empty(&g->watches)) {
		struct guest_watch *w = list_first(&g->watches, struct guest_watch, link);

		list_del(&w->link);
		w->gone(w, epitaph);
	}
}

/* --- the end of a VMM
 * --------------------------------------------------------------------------------------------- */

static void build_destroy_work(struct reactor_job *job)
{
	struct guest_build *b = container_of(job, struct guest_build, job);

	machine_destroy(b->machine);
}

static enum guest_error guest_run_result(const struct guest *g, char *detail, size_t room)
{
	switch (g->last_end) {
	case MACHINE_POWER_OFF:
	case MACHINE_REBOOT:
		return GUEST_OK;
	case MACHINE_VCPU_FAILED:
		snprintf(detail, room, "%s", g->last_detail);
		return GUEST_VCPU_RUNTIME_FAILURE;
	default:
		snprintf(detail, room,
			"guest %s was stopped by its controller before it ended by itself",
			g->name);
		return GUEST_CONTROLLER_FORCED_HALT;
	}
}

static void build_destroy_done(struct reactor_job *job)
{
	struct guest_build *b = container_of(job, struct guest_build, job);
	struct guest *g = b->guest;
	char detail[DIAG_TEXT_MAX] = "";
	bool clean = g->last_end == MACHINE_POWER_OFF || g->last_end == MACHINE_REBOOT;

	free(b);
	guest_enter(g, GUEST_NONE);
	if (g->run) {
		struct guest_call *run = g->run;

		g->run = NULL;
		if (!g->last_error)
			g->last_error = guest_run_result(g, detail, sizeof(detail));
		else
			snprintf(detail, sizeof(detail), "%s", g->last_detail);
		guest_answer(g, run, g->last_error, detail);
		snprintf(g->last_detail, sizeof(g->last_detail), "%s", detail);
	}
	guest_tell_watches(g, clean ? STATUS_OK : STATUS_INTERNAL);
	if (g->active && g->active->kind == GUEST_CALL_STOP) {
		guest_answer(g, g->active, GUEST_OK, "");
		g->active = NULL;
	}
	/* An active Create goes on from here. */
	reactor_defer(g->home, &g->next_task);
}

static void guest_machine_stopped(struct machine *m)
{
	struct guest *g = m->owner;
	struct guest_build *b = g->build;

	g->last_end = m->end;
	if (m->end == MACHINE_VCPU_FAILED)
		snprintf(g->last_detail, sizeof(g->last_detail), "%s", m->diag.text);
	g->last_exits = machine_exits(m);
	g->ended_ns = reactor_now_ns(g->home);
	g->machine = NULL;
	g->build = NULL;
	b->machine = m;
	b->job.work = build_destroy_work;
	b->job.done = build_destroy_done;
	reactor_offload(g->home, &b->job);
}

static void guest_end(struct guest *g)
{
	guest_enter(g, GUEST_ENDING);
	machine_stop(g->machine, guest_machine_stopped);
}

static void guest_machine_ended(struct machine *m)
{
	struct guest *g = m->owner;

	if (g->state == GUEST_RUNNING)
		guest_end(g);
}

/* --- Create
 * ----------------------------------------------------------------------------------------------------------
 */

static void build_create_work(struct reactor_job *job)
{
	struct guest_build *b = container_of(job, struct guest_build, job);
	const struct guest_env *env = b->guest->env;
	struct machine_params params = {
		.host = env->host,
		.name = b->guest->name,
		.config = &b->config,
		.builtin = &env->builtin,
		.classes = env->classes,
		.huge_pages = env->huge_pages,
		.neighbours = env->neighbours,
	};

	b->err = machine_build(&b->machine, &params, &b->diag);
	config_finish(&b->config);
}

static void build_create_done(struct reactor_job *job)
{
	struct guest_build *b = container_of(job, struct guest_build, job);
	struct guest *g = b->guest;
	struct guest_call *call = g->active;

	g->active = NULL;
	if (b->err) {
		guest_enter(g, GUEST_NONE);
		g->last_error = b->err;
		snprintf(g->last_detail, sizeof(g->last_detail), "%s", b->diag.text);
		guest_answer(g, call, b->err, b->diag.text);
		g->build = NULL;
		free(b);
	} else {
		guest_enter(g, GUEST_CREATED);
		g->machine = b->machine;
		b->machine = NULL;
		g->last_cpus = (uint8_t)g->machine->cpus;
		g->machine->owner = g;
		g->machine->ended = guest_machine_ended;
		machine_attach(g->machine, g->home);
		guest_answer(g, call, GUEST_OK, "");
	}
	reactor_defer(g->home, &g->next_task);
}

/* State none; the call has become the active one. */
static void guest_start_build(struct guest *g, struct guest_call *call)
{
	struct guest_build *b = calloc(1, sizeof(*b));
	enum guest_error err;
	struct diag d;

	g->last_error = GUEST_OK;
	g->last_end = MACHINE_RUNNING;
	g->last_detail[0] = '\0';
	if (!b) {
		g->active = NULL;
		config_finish(&call->config);
		guest_refuse(g, call, GUEST_INTERNAL_ERROR, "out of memory");
		return;
	}
	err = config_check(&call->config, &g->env->limits, &d);
	if (err) {
		free(b);
		g->active = NULL;
		g->last_error = err;
		config_finish(&call->config);
		guest_answer(g, call, err, d.text);
		return;
	}
	b->guest = g;
	config_move(&b->config, &call->config);
	b->job.work = build_create_work;
	b->job.done = build_create_done;
	g->build = b;
	g->ever_created = true;
	g->started_ns = g->ended_ns = 0;
	guest_enter(g, GUEST_CREATING);
	reactor_offload(g->home, &b->job);
}

/* --- taking calls
 * ------------------------------------------------------------------------------------------------------
 */

static void take_create(struct guest *g, struct guest_call *call)
{
	if (g->state == GUEST_RUNNING) {
		config_finish(&call->config);
		guest_refuse(g, call, GUEST_ALREADY_RUNNING,
			"guest %s is running; stop it before you create it anew", g->name);
		return;
	}
	g->active = call;
	if (g->state == GUEST_CREATED)
		guest_end(g); /* and comes back here through guest_next */
	else
		guest_start_build(g, call);
}

static void take_run(struct guest *g, struct guest_call *call)
{
	enum guest_error err;
	struct diag d;

	if (g->state == GUEST_NONE) {
		guest_refuse(g, call, GUEST_NOT_CREATED,
			"no VMM has been created in slot %s; call Create first", g->name);
		return;
	}
	if (g->state == GUEST_RUNNING) {
		guest_refuse(
			g, call, GUEST_ALREADY_RUNNING, "guest %s is running already", g->name);
		return;
	}
	g->run = call;
	g->started_ns = reactor_now_ns(g->home);
	guest_enter(g, GUEST_RUNNING);
	err = machine_start(g->machine, &d);
	if (err) {
		g->last_error = err;
		snprintf(g->last_detail, sizeof(g->last_detail), "%s", d.text);
		guest_end(g);
	}
}

static void take_stop(struct guest *g, struct guest_call *call)
{
	if (g->state == GUEST_NONE) {
		guest_answer(g, call, GUEST_OK, "");
		return;
	}
	g->active = call;
	guest_end(g);
}

static void take_bind(struct guest *g, struct guest_call *call)
{
	if (g->state == GUEST_NONE) {
		guest_refuse(
			g, call, GUEST_NOT_CREATED, "no VMM has been created in slot %s", g->name);
		return;
	}
	list_add_tail(&g->watches, &call->watch->link);
	guest_answer(g, call, GUEST_OK, "");
}

static void (*const take[])(struct guest *g, struct guest_call *call) = {
	[GUEST_CALL_CREATE] = take_create,
	[GUEST_CALL_RUN] = take_run,
	[GUEST_CALL_STOP] = take_stop,
	[GUEST_CALL_BIND] = take_bind,
};

static bool guest_next(struct reactor_task *t)
{
	struct guest *g = container_of(t, struct guest, next_task);
	struct guest_call *call;

	if (g->state == GUEST_CREATING || g->state == GUEST_ENDING)
		return false; /* the end of the motion defers this task again */
	if (g->active) {
		guest_start_build(
			g, g->active); /* a Create that had to wait for the old VMM's end */
		return !list_empty(&g->calls);
	}
	if (list_empty(&g->calls))
		return false;
	call = list_first(&g->calls, struct guest_call, link);
	list_del(&call->link);
	take[call->kind](g, call);
	return !list_empty(&g->calls);
}

static void guest_queue(struct guest *g, struct guest_call *call, enum guest_call_kind kind)
{
	CHECK(reactor_is_current(g->home));
	call->kind = kind;
	call->detail = NULL;
	list_init(&call->link);
	list_add_tail(&g->calls, &call->link);
	reactor_defer(g->home, &g->next_task);
}

void guest_create(struct guest *g, struct guest_call *call, struct guest_config *config)
{
	config_init(&call->config);
	config_move(&call->config, config);
	guest_queue(g, call, GUEST_CALL_CREATE);
}

void guest_run(struct guest *g, struct guest_call *call)
{
	guest_queue(g, call, GUEST_CALL_RUN);
}

void guest_stop(struct guest *g, struct guest_call *call)
{
	guest_queue(g, call, GUEST_CALL_STOP);
}

void guest_bind(struct guest *g, struct guest_call *call, struct guest_watch *w)
{
	call->watch = w;
	guest_queue(g, call, GUEST_CALL_BIND);
}

/* --- the slot
 * ------------------------------------------------------------------------------------------------------------
 */

void guest_watch_init(struct guest_watch *w, void (*gone)(struct guest_watch *, enum status))
{
	list_init(&w->link);
	w->gone = gone;
}

void guest_unbind(struct guest_watch *w)
{
	list_del(&w->link);
}

void guest_watch(struct guest *g, struct guest_watch *w)
{
	CHECK(g->state != GUEST_NONE && g->state != GUEST_CREATING);
	list_add_tail(&g->watches, &w->link);
}

void guest_watch_also(const struct guest_watch *bound, struct guest_watch *w)
{
	CHECK(!list_empty(&bound->link));
	list_add_tail(bound->link.next, &w->link);
}

struct guest *guest_new(const char *name, struct reactor *home, const struct guest_env *env)
{
	struct guest *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	snprintf(g->name, sizeof(g->name), "%s", name);
	g->home = home;
	g->env = env;
	list_init(&g->calls);
	list_init(&g->watches);
	list_init(&g->done_calls);
	reactor_task_init(&g->next_task, guest_next);
	reactor_task_init(&g->done_task, guest_answer_all);
	return g;
}

bool guest_is_idle(const struct guest *g)
{
	return g->state == GUEST_NONE && list_empty(&g->calls) && !g->active && !g->run &&
	       list_empty(&g->done_calls);
}

void guest_free(struct guest *g)
{
	if (!g)
		return;
	CHECK(guest_is_idle(g) && list_empty(&g->watches));
	reactor_task_cancel(&g->next_task);
	reactor_task_cancel(&g->done_task);
	free(g);
}

enum guest_status guest_status(const struct guest *g)
{
	switch (g->state) {
	case GUEST_CREATING:
	case GUEST_CREATED:
		return GUEST_STATUS_STARTING;
	case GUEST_RUNNING:
		return GUEST_STATUS_RUNNING;
	case GUEST_ENDING:
		return GUEST_STATUS_STOPPING;
	default:
		return g->ever_created ? GUEST_STATUS_STOPPED : GUEST_STATUS_NOT_STARTED;
	}
}

uint64_t guest_uptime_ns(const struct guest *g)
{
	if (!g->started_ns)
		return 0;
	return (g->ended_ns ? g->ended_ns : reactor_now_ns(g->home)) - g->started_ns;
}

const char *guest_end_name(const struct guest *g)
{
	static const char *const names[] = {
		[MACHINE_RUNNING] = "",
		[MACHINE_POWER_OFF] = "power-off",
		[MACHINE_REBOOT] = "reboot",
		[MACHINE_FORCED] = "forced halt",
		[MACHINE_VCPU_FAILED] = "vCPU failure",
	};

	return names[g->last_end];
}
