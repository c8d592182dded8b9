/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio console: two flows between guest pages and a socket. */
#include "virtio/console.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "trace/probe.h"

enum { CONFIG_COLS = 0, CONFIG_ROWS = 2, CONFIG_MAX_PORTS = 4, CONFIG_EMERG = 8 };

/* How long the end waits for a reader that takes nothing: a client that is there takes it at once;
 * a file or a terminal is worth waiting for. */
#define DRAIN_CLIENT_NS 20000000ULL
#define DRAIN_FILE_NS   2000000000ULL
/* A terminal that somebody made non-blocking answers -EAGAIN: io_uring does not wait for it. */
#define RETRY_NS 10000000ULL

static struct console *console_of(struct virtio_device *dev)
{
	return container_of(dev, struct console, dev);
}

static struct reactor *home(const struct console *c)
{
	return c->dev.env->reactor;
}

static struct virtio_queue *queue_of(struct console *c, unsigned int index)
{
	return &c->dev.queues[index];
}

/* --- output that is kept --- */

static uint32_t kept_bytes(const struct console *c)
{
	return c->kept_end - c->kept_start;
}

/* The oldest stays: what does not fit behind it is dropped and counted. */
static uint32_t kept_room(struct console *c)
{
	if (c->out_broken)
		return 0;
	if (!c->kept) {
		c->kept = malloc(CONSOLE_KEPT_BYTES);
		c->kept_start = c->kept_end = 0;
	}
	return c->kept ? CONSOLE_KEPT_BYTES - c->kept_end : 0;
}

static void kept_forget(struct console *c)
{
	free(c->kept);
	c->kept = NULL;
	c->kept_start = c->kept_end = 0;
}

static void keep_chain(struct console *c, const struct vq_chain *chain)
{
	uint32_t room = kept_room(c);
	size_t kept = room ? chain_read(chain, 0, c->kept + c->kept_end, room) : 0;

	c->kept_end += (uint32_t)kept;
	c->dropped_bytes += chain->out_bytes - kept;
}

static void write_kept(struct console *c)
{
	if (c->end.out.fd < 0 || c->tx.op.in_flight || !kept_bytes(c))
		return;
	c->writing_kept = true;
	c->write_start_ns = reactor_now_ns(home(c));
	PROBE(console_write, probe_string(c->dev.env->guest), c, 1);
	stream_end_write(&c->end, home(c), &c->tx.op, c->kept + c->kept_start, kept_bytes(c));
}

/* --- transmitq --- */

/* Nobody reads yet, or nobody ever will: the guest goes on as if. */
static enum virtio_serve keep_queue(struct console *c, struct virtio_queue *q)
{
	struct vq_chain chain = {.iov = c->tx.batch.iov, .iov_max = CONSOLE_QUEUE_SIZE};
	uint64_t bytes = 0;

	if (!batch_is_empty(&c->tx.batch))
		return VIRTIO_SERVE_BLOCKED; /* half a chain is written: the rest waits for a client
					      */
	for (unsigned int i = 0; i < VIRTIO_BUDGET_CHAINS && bytes < VIRTIO_BUDGET_BYTES; i++) {
		if (!vq_pop(&q->vq, &chain))
			return VIRTIO_SERVE_IDLE;
		keep_chain(c, &chain);
		bytes += chain.out_bytes;
		vq_push(&q->vq, &chain, 0);
		virtio_queue_flush(q);
	}
	return VIRTIO_SERVE_MORE;
}

static void drain_end(struct console *c);

/* A short message is copied, so that its chain goes back to the guest with the same system call
 * that writes it: the guest then deals with that while the client makes up its answer. */
static bool write_small(struct console *c, struct virtio_queue *q)
{
	if (kept_room(c) < CONSOLE_SMALL_BYTES)
		return false;
	c->kept_end +=
		(uint32_t)batch_take(&c->tx.batch, c->kept + c->kept_end, CONSOLE_SMALL_BYTES);
	if (!kept_bytes(c))
		return false;
	virtio_queue_flush(q);
	write_kept(c);
	return true;
}

static enum virtio_serve serve_tx(struct console *c, struct virtio_queue *q)
{
	struct chain_batch *b = &c->tx.batch;
	const struct iovec *iov;
	unsigned int count;

	if (c->tx.op.in_flight || c->giving_up)
		return VIRTIO_SERVE_BLOCKED;
	if (c->end.out.fd < 0 || c->out_broken)
		return keep_queue(c, q);
	if (kept_bytes(c)) {
		write_kept(c);
		return VIRTIO_SERVE_BLOCKED;
	}
	if (batch_fill(b))
		virtio_queue_flush(q);
	if (batch_is_empty(b)) {
		drain_end(c);
		return VIRTIO_SERVE_IDLE;
	}
	if (write_small(c, q))
		return VIRTIO_SERVE_BLOCKED;
	c->writing_kept = false;
	c->write_start_ns = reactor_now_ns(home(c));
	PROBE(console_write, probe_string(c->dev.env->guest), c, 0);
	iov = batch_part(b, VIRTIO_BUDGET_BYTES, &count);
	stream_end_writev(&c->end, home(c), &c->tx.op, iov, count);
	return VIRTIO_SERVE_BLOCKED;
}

static void tx_broken(struct console *c, int err)
{
	struct virtio_queue *q = queue_of(c, CONSOLE_TX);

	c->out_broken = true;
	stream_end_broken(&c->end, err);
	c->dropped_bytes += kept_bytes(c) + batch_drop(&c->tx.batch);
	kept_forget(c);
	virtio_queue_flush(q);
}

static void tx_moved(struct console *c, uint32_t len_bytes)
{
	c->bytes_out += len_bytes;
	if (c->writing_kept) {
		c->kept_start += len_bytes;
		if (!kept_bytes(c))
			kept_forget(c);
	} else if (batch_advance(&c->tx.batch, len_bytes, false)) {
		virtio_queue_flush(queue_of(c, CONSOLE_TX));
	}
}

static void resets_go_on(struct console *c, unsigned int index);

/* Something was written, or is still to be tried: the reader gets its time again. */
static void drain_goes_on(struct console *c)
{
	bool more = virtio_queue_live(queue_of(c, CONSOLE_TX)) || c->tx.op.in_flight;

	if (!c->drained)
		return;
	if (c->giving_up || c->out_broken || !more)
		drain_end(c);
	else
		reactor_timer_start(
			home(c), &c->drain_timer, c->linger ? DRAIN_FILE_NS : DRAIN_CLIENT_NS);
}

static void tx_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct console *c = container_of(op, struct console, tx.op);
	bool old = stream_end_let_go(home(c), &c->end.old_out);

	(void)cqe_flags;
	PROBE(console_written, probe_string(c->dev.env->guest), c, res);
	if (res > 0)
		tx_moved(c, (uint32_t)res);
	else if (!old && !io_error_passes(res))
		tx_broken(c, res);
	resets_go_on(c, CONSOLE_TX);
	if (res == -EAGAIN && !c->giving_up) {
		reactor_timer_start(home(c), &c->retry_timer, RETRY_NS);
		return;
	}
	if (!c->giving_up) {
		write_kept(c);
		virtio_queue_wake(queue_of(c, CONSOLE_TX));
	}
	drain_goes_on(c);
}

/* --- receiveq --- */

static enum virtio_serve serve_rx(struct console *c, struct virtio_queue *q)
{
	struct chain_batch *b = &c->rx.batch;
	const struct iovec *iov;
	unsigned int count;

	if (c->rx.op.in_flight || c->end.in.fd < 0 || c->in_ended || c->drained)
		return VIRTIO_SERVE_BLOCKED;
	if (batch_fill(b))
		virtio_queue_flush(q);
	if (batch_is_empty(b))
		return VIRTIO_SERVE_IDLE;
	iov = batch_part(b, VIRTIO_BUDGET_BYTES, &count);
	io_readv(home(c), &c->rx.op, &c->end.in, iov, count, (uint64_t)-1);
	return VIRTIO_SERVE_BLOCKED;
}

static void rx_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct console *c = container_of(op, struct console, rx.op);
	struct virtio_queue *q = queue_of(c, CONSOLE_RX);
	bool old = stream_end_let_go(home(c), &c->end.old_in);

	(void)cqe_flags;
	if (res > 0) {
		c->bytes_in += (uint64_t)res;
		batch_advance(&c->rx.batch, (uint64_t)res, true);
		virtio_queue_flush(q);
	} else if (!old && !io_error_passes(res)) {
		c->in_ended = true;
	}
	resets_go_on(c, CONSOLE_RX);
	if (res == -EAGAIN)
		reactor_timer_start(home(c), &c->retry_timer, RETRY_NS);
	else
		virtio_queue_wake(q);
}

static void retry(struct reactor_timer *t)
{
	struct console *c = container_of(t, struct console, retry_timer);

	write_kept(c);
	virtio_queue_wake(queue_of(c, CONSOLE_TX));
	virtio_queue_wake(queue_of(c, CONSOLE_RX));
}

/* --- ops --- */

static enum virtio_serve console_serve(struct virtio_queue *q)
{
	struct console *c = console_of(q->dev);

	return q->index == CONSOLE_RX ? serve_rx(c, q) : serve_tx(c, q);
}

static struct console_flow *flow_of(struct console *c, unsigned int index)
{
	return index == CONSOLE_RX ? &c->rx : &c->tx;
}

/* A write of kept bytes is not about guest memory: it goes on through a reset. */
static bool holds_guest_memory(const struct console *c, unsigned int index)
{
	return index == CONSOLE_RX ? c->rx.op.in_flight : c->tx.op.in_flight && !c->writing_kept;
}

/* Forgets the chains of a queue that is being reset; false while there is I/O on them, whose end
 * comes back here. */
static bool flow_reset(struct console *c, unsigned int index)
{
	struct console_flow *flow = flow_of(c, index);

	if (holds_guest_memory(c, index)) {
		io_cancel(home(c), &flow->op);
		return false;
	}
	batch_forget(&flow->batch);
	return true;
}

static void console_queue_reset(struct virtio_queue *q)
{
	if (flow_reset(console_of(q->dev), q->index))
		virtio_queue_reset_done(q);
}

static void console_reset(struct virtio_device *dev)
{
	struct console *c = console_of(dev);
	bool rx = flow_reset(c, CONSOLE_RX), tx = flow_reset(c, CONSOLE_TX);

	if (rx && tx)
		virtio_reset_done(dev);
}

static void resets_go_on(struct console *c, unsigned int index)
{
	struct virtio_queue *q = queue_of(c, index);

	if (!q->resetting && !c->dev.resetting)
		return;
	batch_forget(&flow_of(c, index)->batch);
	if (q->resetting)
		virtio_queue_reset_done(q);
	if (c->dev.resetting && !holds_guest_memory(c, CONSOLE_RX) &&
		!holds_guest_memory(c, CONSOLE_TX))
		virtio_reset_done(&c->dev);
}

/* Emergency write (§5.3.6.2): one byte, at any time, also before the driver is set up. */
static void console_config_write(
	struct virtio_device *dev, uint32_t offset, unsigned int size_bytes, uint64_t value)
{
	struct console *c = console_of(dev);

	(void)size_bytes;
	if (offset != CONFIG_EMERG)
		return;
	if (!kept_room(c)) {
		c->dropped_bytes++;
		return;
	}
	c->kept[c->kept_end++] = (uint8_t)value;
	write_kept(c);
}

static const struct virtio_device_ops console_ops = {
	.serve = console_serve,
	.queue_reset = console_queue_reset,
	.reset = console_reset,
	.config_write = console_config_write,
};

/* --- people --- */

/* A client has shut the old socket down, and there is a new one. */
static void stream_renew(struct console *c)
{
	c->in_ended = c->out_broken = false;
	if (c->rx.op.in_flight)
		io_cancel(home(c), &c->rx.op);
	else
		stream_end_let_go(home(c), &c->end.old_in);
	if (c->tx.op.in_flight)
		io_cancel(home(c), &c->tx.op);
	else
		stream_end_let_go(home(c), &c->end.old_out);
}

static void stream_opened(struct console *c)
{
	write_kept(c);
	virtio_queue_wake(queue_of(c, CONSOLE_TX));
	virtio_queue_wake(queue_of(c, CONSOLE_RX));
}

int console_client(struct console *c, struct diag *d)
{
	int fd = stream_end_client(&c->end, home(c), c->out_broken, d);

	if (stream_end_is_renewed(&c->end))
		stream_renew(c);
	stream_opened(c);
	return fd;
}

void console_open_files(struct console *c, int in, int out, struct stream_loss *loss)
{
	c->linger = true;
	stream_end_open_files(&c->end, home(c), in, out, loss);
	stream_opened(c);
}

static void config_put(struct console *c, unsigned int at, uint16_t value)
{
	c->config[at] = (uint8_t)value;
	c->config[at + 1] = (uint8_t)(value >> 8);
}

void console_resize(struct console *c, uint16_t cols, uint16_t rows)
{
	uint8_t was[4];

	memcpy(was, c->config, sizeof(was));
	config_put(c, CONFIG_COLS, cols);
	config_put(c, CONFIG_ROWS, rows);
	if (memcmp(was, c->config, sizeof(was)))
		virtio_config_changed(&c->dev);
}

uint64_t console_blocked_ns(const struct console *c)
{
	return c->tx.op.in_flight ? reactor_now_ns(home(c)) - c->write_start_ns : 0;
}

/* --- the end --- */

static void drain_end(struct console *c)
{
	/* By the timer, so that nobody's stack has the device on it. */
	if (c->drained)
		reactor_timer_start(home(c), &c->drain_timer, 0);
}

static void drain_over(struct reactor_timer *t)
{
	struct console *c = container_of(t, struct console, drain_timer);

	if (c->tx.op.in_flight) {
		c->giving_up = true;
		io_cancel(home(c), &c->tx.op); /* its end starts the timer again */
		return;
	}
	c->drained(c);
}

void console_drain(struct console *c, void (*drained)(struct console *c))
{
	CHECK(!c->drained);
	c->drained = drained;
	if (c->end.out.fd < 0 || c->out_broken) {
		drain_end(c);
		return;
	}
	virtio_queue_wake(queue_of(c, CONSOLE_TX));
	drain_goes_on(c);
}

void console_close(struct console *c)
{
	CHECK(!c->rx.op.in_flight && !c->tx.op.in_flight);
	c->dropped_bytes += kept_bytes(c);
	kept_forget(c);
	reactor_timer_stop(home(c), &c->retry_timer);
	stream_end_close(&c->end, home(c), c->dropped_bytes);
}

int console_init(struct console *c, struct virtio_env *env, struct diag *d)
{
	static const uint16_t sizes[CONSOLE_QUEUES] = {CONSOLE_QUEUE_SIZE, CONSOLE_QUEUE_SIZE};
	int err;

	memset(c, 0, sizeof(*c));
	c->end = STREAM_END_NONE;
	c->rx.op.done = rx_done;
	c->tx.op.done = tx_done;
	reactor_timer_init(&c->drain_timer, drain_over);
	reactor_timer_init(&c->retry_timer, retry);
	err = virtio_device_init(&c->dev, &console_ops, env, "virtio-console",
		CONSOLE_F_SIZE | CONSOLE_F_EMERG_WRITE, CONSOLE_QUEUES, sizes, d);
	if (err)
		return err;
	c->config[CONFIG_MAX_PORTS] = 1;
	c->dev.config = c->config;
	c->dev.config_bytes = sizeof(c->config);
	batch_init(&c->rx.batch, &queue_of(c, CONSOLE_RX)->vq, true);
	batch_init(&c->tx.batch, &queue_of(c, CONSOLE_TX)->vq, false);
	return 0;
}

void console_finish(struct console *c)
{
	kept_forget(c);
	virtio_device_finish(&c->dev);
}
