/* SPDX-License-Identifier: Apache-2.0 */
/* OpenMetrics 1.0 text: one family after the other, each with all its samples. */
#include "rpc/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/check.h"
#include "rpc/server.h"

/* One family: of counters, samples get the suffix _total. */
struct family {
	const char *name, *unit, *help;
	bool counter;
	size_t offset;
	bool wide; /* uint64_t, else uint32_t */
};

#define REACTOR(name_, counter_, wide_, member, help_)                                             \
	{                                                                                          \
		.name = "ringvisor_reactor_" name_, .help = help_, .counter = counter_,            \
		.offset = offsetof(struct reactor_stats, member), .wide = wide_                    \
	}

static const struct family reactor_families[] = {
	REACTOR("turns", true, true, turns, "Turns of the reactor's loop."),
	REACTOR("enters", true, true, enters, "io_uring_enter system calls."),
	REACTOR("submissions", true, true, sqes, "Operations submitted to the ring."),
	REACTOR("completions", true, true, cqes, "Completions taken from the ring."),
	REACTOR("messages", true, true, messages, "Messages from other threads."),
	REACTOR("wakes", true, true, wakes, "Wake-ups by other threads."),
	REACTOR("timers", true, true, timers, "Timers that have fired."),
	REACTOR("tasks", true, true, tasks, "Deferred tasks that have run."),
	REACTOR("polls", true, true, polls, "Busy polls instead of sleeping."),
	REACTOR("poll_hits", true, true, poll_hits, "Busy polls that found work."),
	REACTOR("poll_pauses", true, true, poll_pauses,
		"Times that busy polling was put off because others needed the CPU."),
	REACTOR("ring_overflows", true, true, overflows,
		"Turns in which the completion queue had overflown."),
	REACTOR("ring_depth", false, false, in_flight, "Operations in flight."),
	REACTOR("batch_max", false, false, batch_max, "Most completions taken in one turn."),
};

#define GUEST(name_, unit_, counter_, member, help_)                                               \
	{                                                                                          \
		.name = "ringvisor_guest_" name_, .unit = unit_, .help = help_,                    \
		.counter = counter_, .offset = offsetof(struct guest_snapshot, member),            \
		.wide = sizeof(((struct guest_snapshot *)0)->member) == 8                          \
	}

static const struct family guest_families[] = {
	GUEST("kicks", NULL, true, kicks, "Doorbells of virtqueues."),
	GUEST("irqs", NULL, true, irqs, "Interrupts raised by devices."),
	GUEST("memory_bytes", "bytes", false, memory_bytes, "Guest memory, as configured."),
	GUEST("resident_memory_bytes", "bytes", false, resident_bytes,
		"Guest memory that the host has allocated."),
	GUEST("queue_depth", NULL, false, queue_depth,
		"Chains of virtqueues that are in the devices' hands."),
	GUEST("mailbox_depth", NULL, false, mailbox_depth,
		"Exits that wait for the home reactor, all virtual CPUs."),
	GUEST("serial_input_bytes", "bytes", true, serial_in_bytes,
		"Bytes that clients sent to the serial port."),
	GUEST("serial_output_bytes", "bytes", true, serial_out_bytes,
		"Bytes of serial output that were handed to clients."),
	GUEST("serial_kept_bytes", "bytes", false, serial_kept_bytes,
		"Bytes of serial output that wait for a reader."),
	GUEST("serial_dropped_bytes", "bytes", true, serial_dropped_bytes,
		"Bytes of serial output lost because nobody read them."),
};

#define VSOCK(name_, unit_, counter_, member, help_)                                               \
	{                                                                                          \
		.name = "ringvisor_guest_vsock_" name_, .unit = unit_, .help = help_,              \
		.counter = counter_, .offset = offsetof(struct vsock_figures, member),             \
		.wide = sizeof(((struct vsock_figures *)0)->member) == 8                           \
	}

static const struct family vsock_families[] = {
	VSOCK("connections", NULL, false, connections, "Connections, half-open ones included."),
	VSOCK("listeners", NULL, false, listeners, "Ports of the host that have a listener."),
	VSOCK("quarantined_ports", NULL, false, quarantined,
		"Pairs of ports that rest after a forced close."),
	VSOCK("accepted", NULL, true, accepted, "Connections that the guest made."),
	VSOCK("connected", NULL, true, connected, "Connections that were made to the guest."),
	VSOCK("refused", NULL, true, refused,
		"Requests of the guest, or other packets without a connection, that got a reset."),
	VSOCK("forced_closes", NULL, true, forced, "Connections that were closed by force."),
	VSOCK("credit_stalls", NULL, true, credit_stalls,
		"Times that there was data for the guest and no credit."),
	VSOCK("to_guest_bytes", "bytes", true, bytes_to_guest, "Bytes of data to the guest."),
	VSOCK("from_guest_bytes", "bytes", true, bytes_from_guest, "Bytes of data from the guest."),
	VSOCK("to_guest_packets", NULL, true, packets_to_guest, "Packets to the guest."),
	VSOCK("from_guest_packets", NULL, true, packets_from_guest, "Packets from the guest."),
};

void metrics_head(FILE *f, const char *name, const char *type, const char *unit, const char *help)
{
	fprintf(f, "# TYPE %s %s\n", name, type);
	if (unit)
		fprintf(f, "# UNIT %s %s\n", name, unit);
	fprintf(f, "# HELP %s %s\n", name, help);
}

static uint64_t family_value(const struct family *family, const void *from)
{
	const char *at = (const char *)from + family->offset;
	uint64_t wide;
	uint32_t narrow;

	if (family->wide) {
		memcpy(&wide, at, sizeof(wide));
		return wide;
	}
	memcpy(&narrow, at, sizeof(narrow));
	return narrow;
}

static void put_family(FILE *f, const struct family *family)
{
	metrics_head(
		f, family->name, family->counter ? "counter" : "gauge", family->unit, family->help);
}

static const char *suffix(const struct family *family)
{
	return family->counter ? "_total" : "";
}

/* --- the daemon and its reactors --- */

static void put_daemon(FILE *f, const struct server *s, unsigned int guests)
{
	metrics_head(f, "ringvisor_build", "info", NULL, "The daemon's version.");
	fprintf(f, "ringvisor_build_info{version=\"%s\"} 1\n", RINGVISOR_VERSION);
	metrics_head(f, "ringvisor_guests", "gauge", NULL, "Guests that the daemon knows.");
	fprintf(f, "ringvisor_guests %u\n", guests);
	metrics_head(f, "ringvisor_connections", "gauge", NULL, "Clients' connections.");
	fprintf(f, "ringvisor_connections %u\n", s->connection_count);
	metrics_head(f, "ringvisor_connections_accepted", "counter", NULL,
		"Connections made by clients.");
	fprintf(f, "ringvisor_connections_accepted_total %" PRIu64 "\n", s->accepted);
	metrics_head(f, "ringvisor_connections_refused", "counter", NULL,
		"Connections refused at once.");
	fprintf(f, "ringvisor_connections_refused_total %" PRIu64 "\n", s->refused);
}

static void put_reactors(FILE *f, const struct server *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(reactor_families); i++) {
		const struct family *family = &reactor_families[i];

		put_family(f, family);
		for (unsigned int r = 0; r < s->params.reactor_count; r++) {
			struct reactor_stats stats;

			reactor_stats_read(s->params.reactors[r], &stats);
			fprintf(f, "%s%s{reactor=\"%u\"} %" PRIu64 "\n", family->name,
				suffix(family), r, family_value(family, &stats));
		}
	}
}

/* --- guests: names are [a-z0-9-], which needs no escapes --- */

bool metrics_has_vmm(const struct guest_snapshot *g)
{
	return g->status == GUEST_STATUS_STARTING || g->status == GUEST_STATUS_RUNNING ||
	       g->status == GUEST_STATUS_STOPPING;
}

static void put_status(FILE *f, struct guest_snapshot *const *guests, unsigned int count)
{
	static const char *const states[] = {
		[GUEST_STATUS_NOT_STARTED] = "not_started",
		[GUEST_STATUS_STARTING] = "starting",
		[GUEST_STATUS_RUNNING] = "running",
		[GUEST_STATUS_STOPPING] = "stopping",
		[GUEST_STATUS_STOPPED] = "stopped",
		[GUEST_STATUS_VMM_UNEXPECTED_TERMINATION] = "vmm_unexpected_termination",
	};

	metrics_head(f, "ringvisor_guest_status", "stateset", NULL, "What the guest is doing.");
	for (unsigned int i = 0; i < count; i++)
		for (unsigned int k = 1; k < ARRAY_SIZE(states); k++)
			fprintf(f,
				"ringvisor_guest_status{guest=\"%s\",ringvisor_guest_status=\"%s\"}"
				" %d\n",
				guests[i]->name, states[k], guests[i]->status == k);
	metrics_head(f, "ringvisor_guest_uptime_seconds", "gauge", "seconds",
		"Time since the guest was started, until its end.");
	for (unsigned int i = 0; i < count; i++)
		fprintf(f, "ringvisor_guest_uptime_seconds{guest=\"%s\"} %.9f\n", guests[i]->name,
			(double)guests[i]->uptime_ns / 1e9);
	metrics_head(f, "ringvisor_guest_cpus", "gauge", NULL, "Virtual CPUs.");
	for (unsigned int i = 0; i < count; i++)
		if (metrics_has_vmm(guests[i]))
			fprintf(f, "ringvisor_guest_cpus{guest=\"%s\",reactor=\"%u\"} %u\n",
				guests[i]->name, guests[i]->home, guests[i]->cpus);
}

/* "KVM_EXIT_FAIL_ENTRY" → "fail_entry" */
static void put_reason(FILE *f, unsigned int reason)
{
	const char *name = vcpu_exit_name(reason);

	if (!strncmp(name, "KVM_EXIT_", 9))
		name += 9;
	if (!strcmp(name, "?")) {
		fprintf(f, "%u", reason);
		return;
	}
	for (; *name; name++)
		fputc(*name >= 'A' && *name <= 'Z' ? *name - 'A' + 'a' : *name, f);
}

static void put_exits(FILE *f, struct guest_snapshot *const *guests, unsigned int count)
{
	metrics_head(f, "ringvisor_guest_exits", "counter", NULL,
		"Exits of the guest's virtual CPUs to user space, by reason.");
	for (unsigned int i = 0; i < count; i++) {
		for (unsigned int k = 0; k < VCPU_EXIT_REASONS; k++) {
			if (!guests[i]->exit_reasons[k])
				continue;
			fprintf(f, "ringvisor_guest_exits_total{guest=\"%s\",reason=\"",
				guests[i]->name);
			put_reason(f, k);
			fprintf(f, "\"} %" PRIu64 "\n", guests[i]->exit_reasons[k]);
		}
	}
}

/* Of the guests that have such a device. */
static void put_vsock(FILE *f, struct guest_snapshot *const *guests, unsigned int count)
{
	for (size_t i = 0; i < ARRAY_SIZE(vsock_families); i++) {
		const struct family *family = &vsock_families[i];

		put_family(f, family);
		for (unsigned int k = 0; k < count; k++)
			if (metrics_has_vmm(guests[k]) && guests[k]->has_vsock)
				fprintf(f, "%s%s{guest=\"%s\"} %" PRIu64 "\n", family->name,
					suffix(family), guests[k]->name,
					family_value(family, &guests[k]->vsock));
	}
}

static void put_guests(FILE *f, struct guest_snapshot *const *guests, unsigned int count)
{
	put_status(f, guests, count);
	put_exits(f, guests, count);
	for (size_t i = 0; i < ARRAY_SIZE(guest_families); i++) {
		const struct family *family = &guest_families[i];

		put_family(f, family);
		for (unsigned int k = 0; k < count; k++)
			if (metrics_has_vmm(guests[k]))
				fprintf(f, "%s%s{guest=\"%s\"} %" PRIu64 "\n", family->name,
					suffix(family), guests[k]->name,
					family_value(family, guests[k]));
	}
}

/* --- the file --- */

static int write_all(int fd, const char *text, size_t len_bytes)
{
	while (len_bytes > 0) {
		ssize_t n = write(fd, text, len_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		text += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

static int sealed_memfd(const char *text, size_t len_bytes, struct diag *d)
{
	int fd = memfd_create("ringvisor-metrics", MFD_CLOEXEC | MFD_ALLOW_SEALING), err;

	if (fd < 0)
		return diag_errno(d, -errno, "memfd_create for the metrics");
	err = write_all(fd, text, len_bytes);
	if (!err && (lseek(fd, 0, SEEK_SET) < 0 ||
			    fcntl(fd, F_ADD_SEALS,
				    F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0))
		err = -errno;
	if (!err)
		return fd;
	close(fd);
	return diag_errno(d, err, "writing the metrics");
}

int metrics_file(const struct server *s, struct guest_snapshot *const *guests, unsigned int count,
	struct diag *d)
{
	char *text = NULL;
	size_t len_bytes = 0;
	FILE *f = open_memstream(&text, &len_bytes);
	int fd;

	if (!f)
		return diag_errno(d, -errno, "open_memstream for the metrics");
	put_daemon(f, s, count);
	put_reactors(f, s);
	put_guests(f, guests, count);
	put_vsock(f, guests, count);
	metrics_memory(f, guests, count);
	if (s->params.reclaim)
		metrics_reclaim(f, s->params.reclaim);
	fputs("# EOF\n", f);
	if (fclose(f) != 0)
		fd = diag_errno(d, -errno, "writing the metrics");
	else
		fd = sealed_memfd(text, len_bytes, d);
	free(text);
	return fd;
}
