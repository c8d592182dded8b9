/* SPDX-License-Identifier: Apache-2.0 */
/* Client library of the Ringvisor daemon: guests created, run, watched and stopped over its socket.
 *
 * A struct rv_client is one connection. On it live protocol objects, named by an rv_object: a
 * lifecycle (a slot that a guest is created and run in), guests, and each guest's vsock endpoint,
 * balloon and memory controller. Objects end with rv_close, with the connection, or when the daemon
 * says so (the `closed` event).
 *
 * Two ways to call:
 *
 *  - rv_X(client, …, timeout_ms, error) waits for the reply: 0, or -1 with *error filled in.
 *    timeout_ms -1 waits for ever. After a time-out the daemon may still carry the call out; its
 *    reply is thrown away, an object that it would have created is closed.
 *
 *  - rv_X_async(client, …, done, user, error) never waits: 0 means that `done` will be called
 *    exactly once, from rv_dispatch (or from the waiting calls, or from rv_close or rv_destroy with
 *    the code ECANCELED); -1 means that it will not. Watch rv_fd for reading, call rv_dispatch when
 *    it is. An object that a call creates can be used before that call is answered.
 *
 * `error` may be NULL everywhere. Strings are UTF-8.
 *
 * Threads: one thread at a time per client and per config, whichever it is; different ones are
 * independent. Nothing is shared, nothing is global, no thread or signal handler is set up, no
 * signal is raised. The library never prints and never ends the process.
 *
 * Callbacks may call every function on their client but those that wait and rv_dispatch (they fail
 * with EDEADLK). rv_destroy in a callback takes effect when the callback returns. */
#ifndef RINGVISOR_CLIENT_H
#define RINGVISOR_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RV_API __attribute__((visibility("default")))

struct rv_client;
struct rv_config;

/* A protocol object on one client; never 0. */
typedef uint32_t rv_object;

#define RV_CALLS_MAX   64  /* calls that wait for their reply, on one client */
#define RV_OBJECTS_MAX 256 /* objects on one client */

/* What kind of number an error's code is. */
enum rv_domain {
	RV_DOMAIN_SYSTEM = 0,  /* errno: the connection or this process */
	RV_DOMAIN_GUEST = 1,   /* enum rv_guest_error */
	RV_DOMAIN_STATUS = 2,  /* enum rv_status */
	RV_DOMAIN_MANAGER = 3, /* enum rv_manager_error */
};

enum rv_guest_error {
	RV_GUEST_INTERNAL_ERROR = 1,
	RV_GUEST_DEVICE_NOT_PRESENT = 2,
	RV_GUEST_BAD_CONFIG = 3,
	RV_GUEST_INITIALIZATION_FAILURE = 4,
	RV_GUEST_DEVICE_INITIALIZATION_FAILURE = 5,
	RV_GUEST_DEVICE_START_FAILURE = 6,
	RV_GUEST_DEVICE_MEMORY_OVERLAP = 7,
	RV_GUEST_FAILED_SERVICE_CONNECT = 8,
	RV_GUEST_DUPLICATE_PUBLIC_SERVICES = 9,
	RV_GUEST_KERNEL_LOAD_FAILURE = 10,
	RV_GUEST_VCPU_START_FAILURE = 11,
	RV_GUEST_VCPU_RUNTIME_FAILURE = 12,
	RV_GUEST_NOT_CREATED = 13,
	RV_GUEST_ALREADY_RUNNING = 14,
	RV_GUEST_CONTROLLER_FORCED_HALT = 15,
};

/* Also the epitaph of a closed object. */
enum rv_status {
	RV_STATUS_OK = 0,
	RV_STATUS_INTERNAL = 1,
	RV_STATUS_NOT_SUPPORTED = 2,
	RV_STATUS_NO_RESOURCES = 3,
	RV_STATUS_INVALID_ARGS = 4,
	RV_STATUS_ALREADY_BOUND = 5,
	RV_STATUS_CONNECTION_REFUSED = 6,
	RV_STATUS_BAD_STATE = 7,
	RV_STATUS_PEER_CLOSED = 8,
	RV_STATUS_TIMED_OUT = 9,
	RV_STATUS_NOT_FOUND = 10,
	RV_STATUS_ACCESS_DENIED = 11,
};

enum rv_manager_error {
	RV_MANAGER_BAD_CONFIG = 1,
	RV_MANAGER_ALREADY_RUNNING = 2,
	RV_MANAGER_NOT_RUNNING = 3,
	RV_MANAGER_START_FAILURE = 4,
	RV_MANAGER_NO_STORAGE = 5,
};

struct rv_error {
	uint32_t domain; /* enum rv_domain */
	uint32_t code;
	char detail[512]; /* for people; never empty, NUL-terminated, no newline */
};

/* The code's own name, "NOT_CREATED" or "ETIMEDOUT"; "UNKNOWN" if it has none. Static. */
RV_API const char *rv_error_name(const struct rv_error *error);
/* The name of an epitaph or of GuestInfo's status, "INTERNAL", "RUNNING". Static. */
RV_API const char *rv_status_name(uint32_t status);
RV_API const char *rv_guest_status_name(uint32_t guest_status);

/* ---- results ---- */

enum rv_guest_status {
	RV_GUEST_NOT_STARTED = 1,
	RV_GUEST_STARTING = 2,
	RV_GUEST_RUNNING = 3,
	RV_GUEST_STOPPING = 4,
	RV_GUEST_STOPPED = 5,
	RV_GUEST_UNEXPECTED_TERMINATION = 6,
};

struct rv_host_info {
	uint32_t wire_version, cores, guests;
	const char *build; /* version of the daemon */
	const char *kvm;   /* what the host's KVM offers, for people */
};

struct rv_guest_entry {
	const char *name;
	uint32_t status; /* enum rv_guest_status */
	uint32_t cpus;
	uint64_t memory_bytes;
	uint64_t uptime_ns;
};

struct rv_guest_list {
	size_t count;
	const struct rv_guest_entry *guests;
};

/* What the daemon did not tell is 0, NULL or empty; `has` says which it did. */
struct rv_guest_info {
	uint32_t has;    /* RV_HAS_* */
	uint32_t status; /* enum rv_guest_status */
	uint32_t cpus;
	uint32_t stop_error; /* enum rv_guest_error */
	uint64_t uptime_ns;
	uint64_t memory_bytes, resident_bytes;
	uint64_t exits, kicks, irqs;
	size_t device_count, problem_count;
	const char *const *devices;
	const char *const *problems; /* detected problems, for people */
};

#define RV_HAS_STATUS     (1u << 1)
#define RV_HAS_UPTIME     (1u << 2)
#define RV_HAS_CPUS       (1u << 3)
#define RV_HAS_MEMORY     (1u << 4)
#define RV_HAS_DEVICES    (1u << 5)
#define RV_HAS_STOP_ERROR (1u << 6)
#define RV_HAS_PROBLEMS   (1u << 7)
#define RV_HAS_RESIDENT   (1u << 8)
#define RV_HAS_EXITS      (1u << 9)
#define RV_HAS_KICKS      (1u << 10)
#define RV_HAS_IRQS       (1u << 11)

struct rv_balloon_size {
	uint32_t current_pages, requested_pages; /* of 4096 bytes */
};

struct rv_balloon_stat {
	uint16_t tag; /* virtio 1.2 §5.5.6.4 */
	uint64_t value;
};

struct rv_balloon_stats {
	uint32_t status; /* enum rv_status; not OK: there are no stats */
	size_t count;
	const struct rv_balloon_stat *stats;
};

/* All in bytes. */
struct rv_mem_size {
	uint64_t block_size, region_size, usable_region_size, plugged_size, requested_size;
};

/* Frees a result that a waiting call gave: the one pointer, with all it points to. NULL is fine. */
RV_API void rv_free(void *result);

/* ---- connection ---- */

/* A reply as an async call's `done` sees it; all of it is valid during that call only. The member
 * that belongs to the method is set. */
struct rv_reply {
	const struct rv_error *error; /* NULL: success */
	const struct rv_host_info *host_info;
	const struct rv_guest_list *guests;
	const struct rv_guest_info *guest_info;
	const struct rv_balloon_stats *balloon_stats;
	struct rv_balloon_size balloon_size;
	struct rv_mem_size mem_size;
	uint32_t host_port; /* rv_vsock_connect */
	int fd;             /* the descriptor that came, or -1; closed after `done`: see below */
};

typedef void (*rv_done_fn)(struct rv_client *client, void *user, struct rv_reply *reply);

/* Takes the reply's descriptor: the caller owns it. -1 if there is none. */
RV_API int rv_reply_take_fd(struct rv_reply *reply);

/* A guest's connection to a port that this client listens on. */
struct rv_accept {
	rv_object acceptor;
	uint32_t id; /* for rv_accept_answer, rv_accept_refuse */
	uint32_t src_cid, src_port, port;
};

/* What the daemon says by itself. Each may be NULL; `user` is rv_connect's. */
struct rv_events {
	/* The object is gone; calls that wait for it fail next. */
	void (*closed)(struct rv_client *client, void *user, rv_object object, uint32_t epitaph);
	/* This side broke the protocol, says the daemon; it hangs up next. */
	void (*violation)(struct rv_client *client, void *user, const struct rv_error *error);
	/* Answer now or later, once; without this callback it is refused. */
	void (*accept)(struct rv_client *client, void *user, const struct rv_accept *request);
	/* The connection has ended, and all calls have failed. Called once, never by rv_destroy. */
	void (*disconnected)(struct rv_client *client, void *user, const struct rv_error *error);
};

/* rv_connect: to the daemon's socket; path NULL: $XDG_RUNTIME_DIR/ringvisor.sock, or
 * /run/ringvisor.sock for root. Waits at most timeout_ms for a place in the daemon's queue (0: not
 * at all). *events is copied; NULL: none. The client, or NULL with *error.
 * rv_connect_fd: the same on a connected SOCK_STREAM Unix socket, which the client owns from then
 * on, also on failure.
 * rv_destroy: calls that wait fail (ECANCELED); closes and frees. NULL is fine. */
RV_API struct rv_client *rv_connect(const char *path, const struct rv_events *events, void *user,
	int timeout_ms, struct rv_error *error);
RV_API struct rv_client *rv_connect_fd(
	int fd, const struct rv_events *events, void *user, struct rv_error *error);
RV_API void rv_destroy(struct rv_client *client);

/* rv_fd: becomes readable when rv_dispatch has something to do: watch it for POLLIN alone, level
 * triggered. It stays the client's.
 * rv_dispatch: sends what is queued, receives what is there, calls the callbacks. Never waits. 0,
 * or -1 when the connection has ended.
 * rv_wait: polls rv_fd for at most timeout_ms (-1: for ever), then dispatches: 1 if something was
 * there, 0 after a time-out, -1 when the connection has ended. */
RV_API int rv_fd(const struct rv_client *client);
RV_API int rv_dispatch(struct rv_client *client, struct rv_error *error);
RV_API int rv_wait(struct rv_client *client, int timeout_ms, struct rv_error *error);

/* rv_close: releases the object; calls that wait for it fail (ECANCELED). A lifecycle's guest ends
 * with the slot's last client. Unknown objects are ignored. */
RV_API void rv_close(struct rv_client *client, rv_object object);

/* ---- a guest's configuration ---- */

enum rv_kernel_type { RV_KERNEL_LINUX = 1, RV_KERNEL_BUILTIN = 2 };
enum rv_block_mode { RV_BLOCK_READ_WRITE = 0, RV_BLOCK_READ_ONLY = 1, RV_BLOCK_VOLATILE_WRITE = 2 };
enum rv_block_format { RV_BLOCK_FILE = 1, RV_BLOCK_QCOW = 2, RV_BLOCK_DEVICE = 3 };
enum rv_device {
	RV_DEVICE_DEFAULT_NET,
	RV_DEVICE_BALLOON,
	RV_DEVICE_CONSOLE,
	RV_DEVICE_RNG,
	RV_DEVICE_VSOCK,
	RV_DEVICE_MEM,
};

/* A file of a config: by path (opened by the daemon), or by descriptor where `fd` is not -1; the
 * config owns the descriptor from then on, also on failure. At most four descriptors go with one
 * config. */
struct rv_file {
	const char *path;
	int fd;
};

#define RV_PATH(path_) ((struct rv_file){.path = (path_), .fd = -1})
#define RV_FD(fd_)     ((struct rv_file){.path = NULL, .fd = (fd_)})

/* rv_config_create: everything at its default; kernel type, cpus and memory have to be set. NULL
 * when memory is short. One config serves any number of calls. rv_config_destroy: NULL is fine.
 * The setters give 0 or -1 with *error; values are judged by the daemon, as BAD_CONFIG.
 * rv_config_load: adds what a JSON file says; errors have file, line and column. rv_config_parse:
 * the same from memory, `name` for the errors. */
RV_API struct rv_config *rv_config_create(void);
RV_API void rv_config_destroy(struct rv_config *config);
RV_API int rv_config_load(struct rv_config *config, const char *path, struct rv_error *error);
RV_API int rv_config_parse(struct rv_config *config, const char *name, const char *text,
	size_t len_bytes, struct rv_error *error);
RV_API void rv_config_set_kernel_type(struct rv_config *config, enum rv_kernel_type type);
RV_API void rv_config_set_cpus(struct rv_config *config, uint8_t cpus);
RV_API void rv_config_set_memory(struct rv_config *config, uint64_t bytes);
RV_API int rv_config_set_kernel(
	struct rv_config *config, struct rv_file file, struct rv_error *error);
RV_API int rv_config_set_ramdisk(
	struct rv_config *config, struct rv_file file, struct rv_error *error);
RV_API int rv_config_set_cmdline(
	struct rv_config *config, const char *cmdline, struct rv_error *error);
RV_API int rv_config_add_cmdline(
	struct rv_config *config, const char *cmdline, struct rv_error *error);
RV_API int rv_config_add_block(struct rv_config *config, const char *id, enum rv_block_mode mode,
	enum rv_block_format format, struct rv_file file, struct rv_error *error);
RV_API int rv_config_add_net(struct rv_config *config, const uint8_t mac[6], bool enable_bridge,
	const char *tap, struct rv_error *error);
RV_API void rv_config_set_device(struct rv_config *config, enum rv_device device, bool on);
/* rv_config_set_mem: sizes of the virtio-mem device in bytes; 0: the default. */
RV_API void rv_config_set_mem(struct rv_config *config, uint64_t block_size, uint64_t region_size,
	uint64_t region_alignment);
RV_API void rv_config_set_guest_cid(struct rv_config *config, uint32_t cid);
RV_API int rv_config_set_vsock_uds_path(
	struct rv_config *config, const char *path, struct rv_error *error);
RV_API void rv_config_set_home_core(struct rv_config *config, uint32_t core);
/* rv_config_set_vsock_guest_to_guest: the guest and others of the daemon that have this on as well
 * may connect to each other's vsock ports; each needs a guest_cid of its own. */
RV_API void rv_config_set_vsock_guest_to_guest(struct rv_config *config, bool on);
/* rv_config_add_listener: a vsock port that listens before the guest's first instruction;
 * `acceptor` is from rv_acceptor_create on the client that makes the call. */
RV_API int rv_config_add_listener(
	struct rv_config *config, uint32_t port, rv_object acceptor, struct rv_error *error);

/* ---- calls: the daemon ---- */

/* The caller frees *info with rv_free. */
RV_API int rv_host_info(struct rv_client *client, struct rv_host_info **info, int timeout_ms,
	struct rv_error *error);
RV_API int rv_host_info_async(
	struct rv_client *client, rv_done_fn done, void *user, struct rv_error *error);
/* The caller frees *list with rv_free. */
RV_API int rv_host_list(struct rv_client *client, struct rv_guest_list **list, int timeout_ms,
	struct rv_error *error);
RV_API int rv_host_list_async(
	struct rv_client *client, rv_done_fn done, void *user, struct rv_error *error);
/* A lifecycle on the slot `name`, made if it is not there. */
RV_API int rv_host_open_lifecycle(struct rv_client *client, const char *name, rv_object *lifecycle,
	int timeout_ms, struct rv_error *error);
RV_API int rv_host_open_lifecycle_async(struct rv_client *client, const char *name,
	rv_object *lifecycle, rv_done_fn done, void *user, struct rv_error *error);
/* Creates and runs a guest that the daemon owns: it outlives this client. */
RV_API int rv_host_launch(struct rv_client *client, const char *name,
	const struct rv_config *config, rv_object *guest, int timeout_ms, struct rv_error *error);
RV_API int rv_host_launch_async(struct rv_client *client, const char *name,
	const struct rv_config *config, rv_object *guest, rv_done_fn done, void *user,
	struct rv_error *error);
/* Nothing happens if it is not started. */
RV_API int rv_host_force_shutdown(
	struct rv_client *client, const char *name, int timeout_ms, struct rv_error *error);
RV_API int rv_host_force_shutdown_async(struct rv_client *client, const char *name, rv_done_fn done,
	void *user, struct rv_error *error);
/* A guest that is started. */
RV_API int rv_host_connect(struct rv_client *client, const char *name, rv_object *guest,
	int timeout_ms, struct rv_error *error);
RV_API int rv_host_connect_async(struct rv_client *client, const char *name, rv_object *guest,
	rv_done_fn done, void *user, struct rv_error *error);
/* The caller frees *info with rv_free. */
RV_API int rv_host_guest_info(struct rv_client *client, const char *name,
	struct rv_guest_info **info, int timeout_ms, struct rv_error *error);
RV_API int rv_host_guest_info_async(struct rv_client *client, const char *name, rv_done_fn done,
	void *user, struct rv_error *error);
/* *fd: a memory file with the OpenMetrics text, from its start; the caller closes it. */
RV_API int rv_host_metrics(
	struct rv_client *client, int *fd, int timeout_ms, struct rv_error *error);
RV_API int rv_host_metrics_async(
	struct rv_client *client, rv_done_fn done, void *user, struct rv_error *error);

/* ---- calls: a lifecycle ---- */

RV_API int rv_lifecycle_create(struct rv_client *client, rv_object lifecycle,
	const struct rv_config *config, int timeout_ms, struct rv_error *error);
RV_API int rv_lifecycle_create_async(struct rv_client *client, rv_object lifecycle,
	const struct rv_config *config, rv_done_fn done, void *user, struct rv_error *error);
/* No reply: if there is no guest, the object is closed at once (the `closed` event). */
RV_API int rv_lifecycle_bind(
	struct rv_client *client, rv_object lifecycle, rv_object *guest, struct rv_error *error);
/* Replies when the guest has ended. */
RV_API int rv_lifecycle_run(
	struct rv_client *client, rv_object lifecycle, int timeout_ms, struct rv_error *error);
RV_API int rv_lifecycle_run_async(struct rv_client *client, rv_object lifecycle, rv_done_fn done,
	void *user, struct rv_error *error);
RV_API int rv_lifecycle_stop(
	struct rv_client *client, rv_object lifecycle, int timeout_ms, struct rv_error *error);
RV_API int rv_lifecycle_stop_async(struct rv_client *client, rv_object lifecycle, rv_done_fn done,
	void *user, struct rv_error *error);

/* ---- calls: a guest ---- */

/* *fd: a stream socket; the caller closes it. */
RV_API int rv_guest_console(
	struct rv_client *client, rv_object guest, int *fd, int timeout_ms, struct rv_error *error);
RV_API int rv_guest_console_async(struct rv_client *client, rv_object guest, rv_done_fn done,
	void *user, struct rv_error *error);
RV_API int rv_guest_serial(
	struct rv_client *client, rv_object guest, int *fd, int timeout_ms, struct rv_error *error);
RV_API int rv_guest_serial_async(struct rv_client *client, rv_object guest, rv_done_fn done,
	void *user, struct rv_error *error);
RV_API int rv_guest_vsock(struct rv_client *client, rv_object guest, rv_object *endpoint,
	int timeout_ms, struct rv_error *error);
RV_API int rv_guest_vsock_async(struct rv_client *client, rv_object guest, rv_object *endpoint,
	rv_done_fn done, void *user, struct rv_error *error);
RV_API int rv_guest_balloon(struct rv_client *client, rv_object guest, rv_object *balloon,
	int timeout_ms, struct rv_error *error);
RV_API int rv_guest_balloon_async(struct rv_client *client, rv_object guest, rv_object *balloon,
	rv_done_fn done, void *user, struct rv_error *error);
RV_API int rv_guest_mem(struct rv_client *client, rv_object guest, rv_object *mem, int timeout_ms,
	struct rv_error *error);
RV_API int rv_guest_mem_async(struct rv_client *client, rv_object guest, rv_object *mem,
	rv_done_fn done, void *user, struct rv_error *error);

/* ---- calls: a guest's vsock endpoint ---- */

/* Guests' connections to `port` come as `accept` events of *acceptor; rv_close of it ends that. */
RV_API int rv_vsock_listen(struct rv_client *client, rv_object endpoint, uint32_t port,
	rv_object *acceptor, int timeout_ms, struct rv_error *error);
RV_API int rv_vsock_listen_async(struct rv_client *client, rv_object endpoint, uint32_t port,
	rv_object *acceptor, rv_done_fn done, void *user, struct rv_error *error);
/* *fd: a stream socket to the guest's port, the caller closes it; *host_port may be NULL. */
RV_API int rv_vsock_connect(struct rv_client *client, rv_object endpoint, uint32_t guest_port,
	int *fd, uint32_t *host_port, int timeout_ms, struct rv_error *error);
RV_API int rv_vsock_connect_async(struct rv_client *client, rv_object endpoint, uint32_t guest_port,
	rv_done_fn done, void *user, struct rv_error *error);
/* rv_acceptor_create: an acceptor for rv_config_add_listener. 0 or -1. */
RV_API int rv_acceptor_create(
	struct rv_client *client, rv_object *acceptor, struct rv_error *error);
/* rv_accept_answer: `fd` is the end of a Unix socket that the daemon is to use, SOCK_STREAM or,
 * where the guest's is, SOCK_SEQPACKET; the guest is reset if it is not of its type. The library
 * owns it, also on failure. rv_accept_refuse: the guest's connection is reset. 0 or -1. */
RV_API int rv_accept_answer(struct rv_client *client, uint32_t id, int fd, struct rv_error *error);
RV_API int rv_accept_refuse(struct rv_client *client, uint32_t id, enum rv_status status,
	const char *detail, struct rv_error *error);

/* ---- calls: balloon and memory controllers ---- */

RV_API int rv_balloon_get_size(struct rv_client *client, rv_object balloon,
	struct rv_balloon_size *size, int timeout_ms, struct rv_error *error);
RV_API int rv_balloon_get_size_async(struct rv_client *client, rv_object balloon, rv_done_fn done,
	void *user, struct rv_error *error);
/* No reply. */
RV_API int rv_balloon_request(
	struct rv_client *client, rv_object balloon, uint32_t pages, struct rv_error *error);
/* The caller frees *stats with rv_free. */
RV_API int rv_balloon_get_stats(struct rv_client *client, rv_object balloon,
	struct rv_balloon_stats **stats, int timeout_ms, struct rv_error *error);
RV_API int rv_balloon_get_stats_async(struct rv_client *client, rv_object balloon, rv_done_fn done,
	void *user, struct rv_error *error);
RV_API int rv_mem_get_size(struct rv_client *client, rv_object mem, struct rv_mem_size *size,
	int timeout_ms, struct rv_error *error);
RV_API int rv_mem_get_size_async(struct rv_client *client, rv_object mem, rv_done_fn done,
	void *user, struct rv_error *error);
/* No reply; a size that is refused closes the controller (the `closed` event, INVALID_ARGS). */
RV_API int rv_mem_request(
	struct rv_client *client, rv_object mem, uint64_t bytes, struct rv_error *error);

#ifdef __cplusplus
}
#endif

#endif
