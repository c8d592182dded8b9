/* SPDX-License-Identifier: Apache-2.0 */
/* A guest slot and its lifecycle, as conformance.md has it.
 *
 *   none ──Create──▶ creating ──▶ created ──Run──▶ running ──▶ ending ──▶ none
 *                        └─ failure ─▶ none   └──Create, Stop──▶ ending ──▶ …
 *
 * Calls on one slot are taken in order, one at a time while the state is in motion (creating,
 * ending); Run then stays pending without holding up the others. All of it on the slot's home
 * reactor. */
#ifndef CORE_GUEST_H
#define CORE_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "core/config.h"
#include "core/list.h"
#include "core/machine.h"
#include "core/reactor.h"

/* What all guests of the process share; constant once the reactors run. */
struct guest_env {
	struct vm_host *host;
	struct blob builtin; /* the embedded guest */
	const struct device_class *const *classes;
	struct config_limits limits;
	struct neighbours *neighbours; /* who of them can be reached by others; NULL: nobody */
	bool huge_pages;               /* back guest memory with 2 MiB pages */
};

enum guest_state { GUEST_NONE, GUEST_CREATING, GUEST_CREATED, GUEST_RUNNING, GUEST_ENDING };

struct guest;

/* One call; embedded in the caller, which keeps it until `done`. */
struct guest_call {
	/* The result: GUEST_OK (detail "" ), or an error with a detail for people. Called once, on
	 * the home reactor, never from inside the function that took the call. May free the call.
	 */
	void (*done)(struct guest_call *call, enum guest_error err, const char *detail);

	/* --- private --- */
	struct list link;
	enum guest_call_kind {
		GUEST_CALL_CREATE,
		GUEST_CALL_RUN,
		GUEST_CALL_STOP,
		GUEST_CALL_BIND
	} kind;
	struct guest_config config;
	struct guest_watch *watch;
	enum guest_error result;
	char *detail;
};

/* Somebody who holds the VMM's Guest interface and is told when it is gone. */
struct guest_watch {
	/* The VMM is gone; epitaph OK after a clean end, INTERNAL after any other. The watch is
	 * unlinked already. */
	void (*gone)(struct guest_watch *w, enum status epitaph);
	struct list link; /* private */
};

#define GUEST_NAME_MAX     63
#define GUEST_PROBLEMS_MAX 8

struct guest {
	char name[GUEST_NAME_MAX + 1];
	struct reactor *home;
	const struct guest_env *env;
	enum guest_state state;
	struct machine *machine;   /* CREATED, RUNNING, ENDING */
	struct list calls;         /* waiting for their turn */
	struct guest_call *active; /* the one in motion: Create or Stop */
	struct guest_call *run;    /* the pending Run */
	struct list watches;
	struct reactor_task next_task; /* takes the next call */
	struct list done_calls;        /* to be answered by done_task */
	struct reactor_task done_task;
	struct guest_build *build; /* CREATING: the job on the helper thread */

	/* How the last VMM ended, for GuestInfo. */
	bool ever_created;
	enum machine_end last_end;
	enum guest_error last_error;
	char last_detail[DIAG_TEXT_MAX];
	uint64_t started_ns, ended_ns;
	uint8_t last_cpus;
	uint64_t last_exits;
};

/* guest_new: a slot in state none. NULL if out of memory. Any thread (used on `home` afterwards).
 */
struct guest *guest_new(const char *name, struct reactor *home, const struct guest_env *env);
/* guest_free: the slot is in state none, no call waits, nobody watches. */
void guest_free(struct guest *g);

/* guest_create: takes the config over (it is emptied), checks it, builds the VMM on a helper
 * thread. guest_run: answered when the guest has ended. guest_stop: answered after the teardown.
 * guest_bind: GUEST_OK and `w` is told of the end, or GUEST_NOT_CREATED. */
void guest_create(struct guest *g, struct guest_call *call, struct guest_config *config);
void guest_run(struct guest *g, struct guest_call *call);
void guest_stop(struct guest *g, struct guest_call *call);
void guest_bind(struct guest *g, struct guest_call *call, struct guest_watch *w);
/* guest_unbind: the watch is not told any more. Safe if it is not linked but initialised by
 * guest_watch_init. */
void guest_watch_init(struct guest_watch *w, void (*gone)(struct guest_watch *, enum status));
void guest_unbind(struct guest_watch *w);
/* guest_watch: there is a VMM, and `w` is told of its end. guest_watch_also: as `bound` is, which
 * is bound. */
void guest_watch(struct guest *g, struct guest_watch *w);
void guest_watch_also(const struct guest_watch *bound, struct guest_watch *w);

/* guest_is_idle: state none and nothing waits. */
bool guest_is_idle(const struct guest *g);
enum guest_status guest_status(const struct guest *g);
uint64_t guest_uptime_ns(const struct guest *g);
/* guest_end_name: "power-off", "reboot", "forced halt", "vCPU failure", "" if it never ended. */
const char *guest_end_name(const struct guest *g);

#endif
