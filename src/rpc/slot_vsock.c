/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on a guest's vsock, on their way from the control reactor to its home and back. */
#include "rpc/slot_vsock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "core/machine.h"

/* --- requests of the guest: home to control --- */

/* One that listens, or was never connected, would never tell of an end: the connection would
 * outlive its client. */
static bool has_peer(int fd)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);

	return !getpeername(fd, (struct sockaddr *)&address, &len);
}

static void accept_answered(struct reactor_msg *msg)
{
	struct slot_accept *a = container_of(msg, struct slot_accept, msg);
	struct slot_listener *l = a->listener;

	l->unanswered--;
	if (a->fd >= 0 && !has_peer(a->fd)) {
		close(a->fd);
		a->fd = -1;
	}
	if (l->dev)
		l->dev->class->vsock->accepted(l->dev, &a->request, a->fd);
	else if (a->fd >= 0)
		close(a->fd);
	free(a);
}

void slot_accept_answer(struct slot_accept *a, int fd)
{
	reactor_timer_stop(a->listener->slots->control, &a->timer);
	list_del(&a->link);
	a->fd = fd;
	a->msg.run = accept_answered;
	reactor_post(a->listener->home, &a->msg);
}

void slot_accept_drop(struct slot_accept *a)
{
	reactor_timer_stop(a->listener->slots->control, &a->timer);
	list_del(&a->link);
	free(a);
}

static void accept_late(struct reactor_timer *t)
{
	struct slot_accept *a = container_of(t, struct slot_accept, timer);

	a->late(a);
}

void slot_accept_wait(struct slot_accept *a, void (*late)(struct slot_accept *a))
{
	a->late = late;
	reactor_timer_start(a->listener->slots->control, &a->timer, SLOT_ACCEPT_NS);
}

static void accept_arrived(struct reactor_msg *msg)
{
	struct slot_accept *a = container_of(msg, struct slot_accept, msg);
	struct slot_listener *l = a->listener;

	if (l->released)
		free(a); /* the end of the listener refuses it */
	else if (l->holder)
		l->asked(l, a);
	else
		list_add_tail(&l->early, &a->link);
}

/* Home. */
static void listener_accept(struct vsock_acceptor *acceptor, const struct vsock_accept *request)
{
	struct slot_listener *l = container_of(acceptor, struct slot_listener, acceptor);
	struct slot_accept *a = l->unanswered < SLOT_ACCEPTS_MAX ? calloc(1, sizeof(*a)) : NULL;

	if (!a) {
		l->dev->class->vsock->accepted(l->dev, request, -1);
		return;
	}
	l->unanswered++;
	a->listener = l;
	a->request = *request;
	a->fd = -1;
	list_init(&a->link);
	reactor_timer_init(&a->timer, accept_late);
	a->msg.run = accept_arrived;
	reactor_post(l->slots->control, &a->msg);
}

/* Home: the end of the VMM is told by the link. */
static void listener_closed(struct vsock_acceptor *acceptor)
{
	container_of(acceptor, struct slot_listener, acceptor)->dev = NULL;
}

/* --- the life of a listener --- */

static void listener_free(struct slot_listener *l)
{
	struct slots *s = l->slots;

	free(l);
	s->out--;
	slots_told(s);
}

static void listener_gone(struct guest_link *bound, enum status epitaph)
{
	struct slot_listener *l = bound->holder;

	l->bound = NULL;
	if (l->holder)
		l->gone(l, epitaph);
}

struct slot_listener *slot_listener_new(struct slot *slot, uint32_t port, uint32_t id)
{
	struct slot_listener *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->bound = guest_link_new(slot, listener_gone);
	if (!l->bound) {
		free(l);
		return NULL;
	}
	l->bound->holder = l;
	list_init(&l->link);
	list_init(&l->turn);
	list_init(&l->waiting);
	list_init(&l->early);
	l->port = port;
	l->id = id;
	l->slots = slot->slots;
	l->slots->out++;
	l->acceptor = (struct vsock_acceptor){.accept = listener_accept, .closed = listener_closed};
	return l;
}

/* Back: all that home has sent before has come, and all that was sent to it has arrived there. */
static void unlisten_done(struct reactor_msg *msg)
{
	listener_free(container_of(msg, struct slot_listener, unlisten_msg));
}

static void unlisten_home(struct reactor_msg *msg)
{
	struct slot_listener *l = container_of(msg, struct slot_listener, unlisten_msg);

	if (l->dev)
		l->dev->class->vsock->unlisten(l->dev, l->port, &l->acceptor);
	l->dev = NULL;
	l->unlisten_msg.run = unlisten_done;
	reactor_post(l->slots->control, &l->unlisten_msg);
}

void slot_listener_deliver(struct slot_listener *l)
{
	while (!list_empty(&l->early)) {
		struct slot_accept *a = list_first(&l->early, struct slot_accept, link);

		list_del(&a->link);
		l->asked(l, a);
	}
}

void slot_listener_release(struct slot_listener *l)
{
	l->holder = NULL;
	l->released = true;
	while (!list_empty(&l->early))
		slot_accept_drop(list_first(&l->early, struct slot_accept, link));
	if (!l->listens) {
		guest_link_discard(l->bound);
		listener_free(l);
		return;
	}
	if (l->bound)
		guest_link_drop(l->bound);
	l->bound = NULL;
	l->unlisten_msg.run = unlisten_home;
	reactor_post(l->home, &l->unlisten_msg);
}

/* --- listeners of the configuration --- */

bool slot_listener_list(
	struct slot *slot, const struct guest_config *config, struct list *listeners)
{
	for (uint32_t i = 0; i < config->listener_count; i++) {
		const struct config_listener *c = &config->listeners[i];
		struct slot_listener *l = slot_listener_new(slot, c->port, c->acceptor_id);

		if (!l)
			return false;
		list_add_tail(listeners, &l->link);
	}
	return true;
}

void slot_listeners_adopt(struct slot_op *op)
{
	struct guest *g = op->guest;
	struct device *dev;

	if (g->state != GUEST_CREATED && g->state != GUEST_RUNNING)
		return;
	dev = machine_vsock(g->machine);
	list_for_each (at, &op->listeners) {
		struct slot_listener *l = list_entry(at, struct slot_listener, link);

		if (!dev || dev->class->vsock->adopt(dev, l->port, &l->acceptor))
			continue;
		l->dev = dev;
		l->listens = true;
		l->home = l->bound->home = g->home;
		guest_watch(g, &l->bound->watch);
	}
}

void slot_listeners_end(struct slot_op *op)
{
	while (!list_empty(&op->listeners)) {
		struct slot_listener *l = list_first(&op->listeners, struct slot_listener, link);

		list_del(&l->link);
		slot_listener_release(l);
	}
	if (op->listener)
		slot_listener_release(op->listener);
}

/* --- Listen --- */

__attribute__((format(printf, 3, 4))) static void op_fail(
	struct slot_op *op, enum status status, const char *fmt, ...)
{
	char text[DIAG_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	op->status = status;
	op->detail = strdup(text);
}

static struct device *vsock_of(struct slot_op *op)
{
	return slot_op_device(op, machine_vsock, "vsock", "virtio_vsock");
}

static void vsock_open(struct slot_op *op)
{
	if (vsock_of(op))
		guest_watch_also(&op->holder_link->watch, &op->child_link->watch);
	slot_op_return(op);
}

static void listen_failed(struct slot_op *op, int err)
{
	const char *name = op->guest->name;
	uint32_t port = op->port;

	if (err == -EADDRINUSE)
		op_fail(op, STATUS_ALREADY_BOUND,
			"port %u of guest %s has a listener already: a port has one", port, name);
	else if (err == -ECONNREFUSED)
		op_fail(op, STATUS_BAD_STATE, "guest %s is at its end", name);
	else
		op_fail(op, STATUS_NO_RESOURCES, "no listener on port %u of guest %s: %s", port,
			name, strerror(-err));
}

static void vsock_listen(struct slot_op *op)
{
	struct slot_listener *l = op->listener;
	struct device *dev = vsock_of(op);
	int err;

	if (!dev) {
		slot_op_return(op);
		return;
	}
	err = dev->class->vsock->listen(dev, l->port, &l->acceptor);
	if (err) {
		listen_failed(op, err);
	} else {
		l->dev = dev;
		l->listens = true;
		guest_watch_also(&op->holder_link->watch, &l->bound->watch);
	}
	slot_op_return(op);
}

/* --- Connect --- */

static void connect_failed(struct slot_op *op, int err)
{
	const char *name = op->guest->name;
	uint32_t port = op->port;

	if (err == -ECONNREFUSED)
		op_fail(op, STATUS_CONNECTION_REFUSED,
			"guest %s refused the connection to its port %u", name, port);
	else if (err == -ETIMEDOUT)
		op_fail(op, STATUS_TIMED_OUT,
			"guest %s did not answer on its port %u within 5 s: is its vsock driver "
			"up?",
			name, port);
	else if (err == -ENOSPC)
		op_fail(op, STATUS_NO_RESOURCES,
			"guest %s: no host port, or no connection, is left for its port %u", name,
			port);
	else
		op_fail(op, STATUS_NO_RESOURCES, "no connection to port %u of guest %s: %s", port,
			name, strerror(-err));
}

static void connect_done(struct vsock_connect *c, int err, uint32_t host_port, int fd)
{
	struct slot_op *op = container_of(c, struct slot_op, connect);

	op->connecting = NULL;
	op->host_port = host_port;
	op->fd = fd;
	if (err)
		connect_failed(op, err);
	slot_op_return(op);
}

static void vsock_connect(struct slot_op *op)
{
	struct device *dev = vsock_of(op);
	int err = 0;

	if (dev) {
		op->connect.done = connect_done;
		err = dev->class->vsock->connect(dev, op->port, &op->connect);
	}
	if (dev && !err) {
		op->connecting = dev;
		return;
	}
	if (err)
		connect_failed(op, err);
	slot_op_return(op);
}

static void cancel_home(struct reactor_msg *msg)
{
	struct slot_op *op = container_of(msg, struct slot_op, cancel_msg);
	struct device *dev = op->connecting;

	op->connecting = NULL;
	if (dev) {
		dev->class->vsock->connect_cancel(dev, &op->connect);
		connect_failed(op, -ECONNREFUSED);
		slot_op_return(op);
	}
	op->cancel_msg.run = slot_op_cancelled;
	reactor_post(op->slots->control, &op->cancel_msg);
}

/* --- at the control reactor --- */

bool slot_vsock_open(struct guest_link *l, struct guest_link *child, slot_done done, void *ctx)
{
	return slot_device_open(l, child, vsock_open, done, ctx);
}

bool slot_vsock_listen(
	struct guest_link *l, struct slot_listener *listener, slot_done done, void *ctx)
{
	struct slot_op *op = slot_device_op(l, vsock_listen, done, ctx);

	if (!op) {
		slot_listener_release(listener);
		return false;
	}
	listener->home = listener->bound->home = l->home;
	op->listener = listener;
	op->port = listener->port;
	slot_op_submit(op);
	return true;
}

struct slot_op *slot_vsock_connect(
	struct guest_link *l, uint32_t guest_port, slot_done done, void *ctx)
{
	struct slot_op *op = slot_device_op(l, vsock_connect, done, ctx);

	if (!op)
		return NULL;
	op->port = guest_port;
	slot_op_submit(op);
	return op;
}

void slot_vsock_cancel(struct slot_op *op)
{
	op->cancelling = true;
	op->cancel_msg.run = cancel_home;
	reactor_post(op->holder_link->home, &op->cancel_msg);
}
