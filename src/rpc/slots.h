/* SPDX-License-Identifier: Apache-2.0 */
/* Guests by name, as the control reactor knows them, and the calls that cross to their homes.
 *
 *   control reactor                           home reactor of the guest
 *   slot_create, … ──▶ struct slot_op ──post──▶ guest_create, …
 *   op->done       ◀── mirror of the state ◀──post── its answer
 *
 * The messages of one sender arrive in order and a guest takes its calls in order, so the calls of
 * one slot happen in the order in which they were made here. Control reactor only, unless a line
 * says otherwise. */
#ifndef RPC_SLOTS_H
#define RPC_SLOTS_H

#include "core/controllers.h"
#include "core/guest.h"
#include "core/list.h"
#include "core/reactor.h"

#define SLOTS_MAX 512 /* that a List of the longest names still fits one message */

struct slot_listener;

struct slots {
	struct list list; /* struct slot, oldest first */
	unsigned int count;
	struct reactor *control;
	struct reactor *const *reactors;
	unsigned int reactor_count;
	const struct guest_env *env;
	unsigned int out;                 /* ops and links that have not come back */
	bool stopping;                    /* no guest is created any more */
	void (*changed)(struct slots *s); /* while stopping: something came to its end */
};

/* What the reclaim policy knows of a guest (rpc/reclaim.c). */
struct reclaim_slot {
	bool looking; /* a slot_reclaim is out */
	bool known;   /* the guest had a balloon when it was last looked at: */
	struct balloon_figures figures;
	uint64_t vmm_ns;       /* when its VMM was made: another one is another guest */
	uint64_t operator_ns;  /* when more of its clients' requests were seen; 0: never */
	uint32_t target_pages; /* the last answer of the policy */
};

struct slot {
	char name[GUEST_NAME_MAX + 1];
	struct slots *slots;
	struct list link;
	struct guest *guest; /* of `home`; changes only while no call is out and there is no VMM */
	unsigned int home;
	unsigned int refs; /* GuestLifecycle objects, calls in progress */
	unsigned int ops;  /* out at home */
	unsigned int runs; /* Runs among them: pending */
	bool launched;     /* the guest is the daemon's; the slot stays as a record of its end */
	bool abandoned;    /* a Stop is on its way since the last client went */

	/* Mirror of the guest's state, exact whenever no Create or Stop is out. */
	bool made;              /* there is a VMM */
	unsigned int in_motion; /* Creates and Stops out */
	uint8_t cpus;           /* of the last Create */
	uint64_t memory_bytes;

	struct slot_op *moving; /* a Create that waits for the old VMM's end on another reactor */
	struct list waiting;    /* struct slot_op, behind it */

	struct reclaim_slot reclaim;
};

enum slot_op_kind {
	SLOT_CREATE,
	SLOT_RUN,
	SLOT_STOP,
	SLOT_BIND,
	SLOT_SERIAL,
	SLOT_CONSOLE,
	SLOT_DEVICE,
	SLOT_SNAPSHOT,
	SLOT_RECLAIM,
	SLOT_FREE,
};

/* Somebody of a connection who holds the VMM's Guest interface. Heap; freed by itself once it is
 * told of the end or let go, whichever comes last. */
struct guest_link {
	struct guest_watch watch;                /* home reactor */
	struct reactor_msg gone_msg, unbind_msg; /* to control; to home and back */
	struct reactor *home, *control;
	enum status epitaph;
	struct slots *slots;
	struct slot *slot; /* valid while it is bound */
	void *holder;      /* struct object; NULL: nobody any more */
	void (*gone)(struct guest_link *l, enum status epitaph); /* tells the holder, if any */
	unsigned int uses;                                       /* ops out that look at it */
	bool unbinding, over;
};

#define SNAPSHOT_DEVICES_MAX 80

/* What a guest's home reactor knows of it at one moment. */
struct guest_snapshot {
	char name[GUEST_NAME_MAX + 1];
	enum guest_status status;
	unsigned int home;
	uint64_t uptime_ns;
	uint8_t cpus;
	uint64_t memory_bytes, resident_bytes;
	uint64_t exits, kicks, irqs;
	uint64_t exit_reasons[VCPU_EXIT_REASONS];
	uint64_t serial_in_bytes, serial_out_bytes, serial_dropped_bytes;
	uint64_t serial_kept_bytes;
	uint64_t console_blocked_ns;          /* its output waits for a reader */
	uint32_t mailbox_depth;               /* exits posted and not handled, all vCPUs */
	uint32_t queue_depth;                 /* chains in flight, all virtqueues */
	bool has_vsock, has_balloon, has_mem; /* the next ones say something */
	struct vsock_figures vsock;
	struct balloon_figures balloon;
	struct mem_size mem_size;
	struct mem_figures mem;
	uint64_t taken_ns;                         /* when, on the clock of balloon.statistics_ns */
	const char *devices[SNAPSHOT_DEVICES_MAX]; /* class names, constants */
	unsigned int device_count;
	enum guest_error stop_error;
	char stop_detail[DIAG_TEXT_MAX];
	enum machine_end end;
};

/* One call on its way to a home reactor and back. */
struct slot_op {
	struct reactor_msg msg;
	struct list link; /* slot->waiting */
	struct slots *slots;
	struct slot *slot; /* NULL: SLOT_FREE */
	struct guest *guest;
	enum slot_op_kind kind;
	void (*done)(struct slot_op *op); /* control reactor; the op is freed afterwards */
	void *ctx;

	struct guest_call call; /* home */
	struct guest_config config;
	struct guest_link *holder_link; /* SLOT_BIND, SLOT_SERIAL, SLOT_CONSOLE, SLOT_DEVICE */

	/* SLOT_DEVICE (rpc/slot_device.c). */
	void (*work)(struct slot_op *op); /* home; slot_op_return is its end, now or later */
	struct guest_link *child_link;    /* to be bound to the VMM as holder_link is */
	uint32_t pages;                   /* arguments */
	uint64_t requested_size;
	struct balloon_stats_call stats;
	uint32_t port;

	/* SLOT_RECLAIM (rpc/slot_reclaim.c); `pages` above. */
	uint64_t vmm_ns, requests;      /* vmm_ns: argument and result */
	struct device *balloon_device;  /* home: while its statistics are on their way */
	struct balloon_figures balloon; /* result */

	/* rpc/slot_vsock.c. */
	struct list listeners;          /* SLOT_CREATE: struct slot_listener, of the config */
	struct slot_listener *listener; /* of a Listen */
	struct vsock_connect connect;
	struct device *connecting; /* home: where `connect` is out */
	struct reactor_msg cancel_msg;
	bool cancelling, back; /* the cancel is out; the op itself has come back meanwhile */

	/* Results. */
	enum guest_error err;
	char *detail; /* NULL, or text for people */
	int fd;       /* of a stream: the client's; the taker sets it to -1 */
	uint32_t current_pages, requested_pages;
	uint32_t host_port;
	struct mem_size mem;
	enum status status;              /* of `stats`, of slot_mem_request, of slot_vsock_* */
	struct guest_snapshot *snapshot; /* the taker sets it to NULL; NULL: out of memory */
};

void slots_init(struct slots *s, struct reactor *control, struct reactor *const *reactors,
	unsigned int reactor_count, const struct guest_env *env);
/* slots_stop: stops every guest; slots go as soon as nobody holds them. Nobody creates guests any
 * more. slots_quiet: no VMM is left and no call is out. slots_empty: nothing at all is left. */
void slots_stop(struct slots *s);
bool slots_quiet(const struct slots *s);
bool slots_empty(const struct slots *s);

/* slot_find: NULL if there is none. slot_open: made if there is none; NULL: out of memory, or
 * SLOTS_MAX names are in use; counted as with slot_ref.
 * slot_unref: a guest that was not launched ends with the last. */
struct slot *slot_find(struct slots *s, const char *name);
struct slot *slot_open(struct slots *s, const char *name);
void slot_ref(struct slot *slot);
void slot_unref(struct slot *slot);

/* slot_started: the manager's "started": STARTING, RUNNING or STOPPING. */
bool slot_started(const struct slot *slot);

/* Each takes one call to the guest's home; `done` gets the result in op->err and op->detail, never
 * from inside. False: out of memory, `done` is not called.
 * slot_create: takes the config over in any case; if op->err is GUEST_OK, `done` may take listeners
 * from op->listeners, one for each of its vsock_listeners. slot_bind: takes the link over in any
 * case; it is bound if op->err is GUEST_OK, else freed. slot_serial, slot_console: a descriptor for
 * the holder of the link; GUEST_DEVICE_NOT_PRESENT if there is no console. slot_snapshot: all that
 * is known. */
typedef void (*slot_done)(struct slot_op *op);
bool slot_create(struct slot *slot, struct guest_config *config, slot_done done, void *ctx);
bool slot_run(struct slot *slot, slot_done done, void *ctx);
bool slot_stop(struct slot *slot, slot_done done, void *ctx);
bool slot_bind(struct slot *slot, struct guest_link *l, slot_done done, void *ctx);
bool slot_serial(struct guest_link *l, slot_done done, void *ctx);
bool slot_console(struct guest_link *l, slot_done done, void *ctx);
bool slot_snapshot(struct slot *slot, slot_done done, void *ctx);

/* slot_reclaim: asks the guest's balloon for slot->reclaim.target_pages besides what its clients
 * ask for, unless it is another VMM, or has had other requests of clients, than slot->reclaim
 * knows; then asks for statistics. The op's `balloon` and `vmm_ns` say what is known after that;
 * op->err is GUEST_DEVICE_NOT_PRESENT if there is no running VMM or no balloon. Takes as long as
 * the statistics, up to 5 s. */
bool slot_reclaim(struct slot *slot, slot_done done, void *ctx);

/* Calls on a device of the VMM that the link is bound to; op->err is GUEST_DEVICE_NOT_PRESENT if it
 * has none, GUEST_INTERNAL_ERROR if the VMM is at its end. Each as those above.
 * slot_balloon_open, slot_mem_open: takes `child` over in any case; it is bound to the same VMM
 * (and becomes op->child_link) if op->err is GUEST_OK, else freed. The others are for the holder of
 * such a link: slot_balloon_size gives current_pages and requested_pages, slot_balloon_stats gives
 * status and stats; slot_mem_size gives mem; slot_mem_request gives status: OK, or INVALID_ARGS and
 * detail. */
bool slot_balloon_open(struct guest_link *l, struct guest_link *child, slot_done done, void *ctx);
bool slot_balloon_size(struct guest_link *l, slot_done done, void *ctx);
bool slot_balloon_request(struct guest_link *l, uint32_t pages, slot_done done, void *ctx);
bool slot_balloon_stats(struct guest_link *l, slot_done done, void *ctx);
bool slot_mem_open(struct guest_link *l, struct guest_link *child, slot_done done, void *ctx);
bool slot_mem_size(struct guest_link *l, slot_done done, void *ctx);
bool slot_mem_request(struct guest_link *l, uint64_t requested_size, slot_done done, void *ctx);

/* guest_link_new: not bound yet. NULL: out of memory. guest_link_drop: the holder of
 * one that was bound lets go. guest_link_discard: it was never given to slot_bind. */
struct guest_link *guest_link_new(
	struct slot *slot, void (*gone)(struct guest_link *, enum status));
void guest_link_drop(struct guest_link *l);
void guest_link_discard(struct guest_link *l);

/* --- private to slot*.c --- */
struct slot_op *slot_op_new(struct slot *slot, enum slot_op_kind kind, slot_done done, void *ctx);
void slot_op_submit(struct slot_op *op);
void slot_op_post(struct slot_op *op);
void slot_op_free(struct slot_op *op);
/* Home: slot_op_vmm says whether the VMM is still the one that op->holder_link was bound to, with
 * its posted exits handled; if not, op->err and op->detail are set. slot_op_return sends the op
 * back. */
bool slot_op_vmm(struct slot_op *op);
void slot_op_return(struct slot_op *op);
void slot_reclaim_work(struct slot_op *op); /* home */
/* slot_op_device: NULL, with the op's result set, if the VMM has no such device. */
struct device *slot_op_device(struct slot_op *op, struct device *(*find)(struct machine *m),
	const char *what, const char *option);
/* Control: slot_device_op: a call for the holder of the link, not submitted; NULL: out of memory.
 * slot_device_open: as slot_balloon_open. slot_op_cancelled: the cancel has come back. */
struct slot_op *slot_device_op(
	struct guest_link *l, void (*work)(struct slot_op *op), slot_done done, void *ctx);
bool slot_device_open(struct guest_link *l, struct guest_link *child,
	void (*work)(struct slot_op *op), slot_done done, void *ctx);
void slot_op_cancelled(struct reactor_msg *msg);
void slot_settle(struct slot *slot);
void slots_told(struct slots *s);
void guest_link_put(struct guest_link *l);

/* snapshot_take: home reactor (rpc/snapshot.c). */
void snapshot_take(struct guest_snapshot *to, const struct guest *g);

#endif
