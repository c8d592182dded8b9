/* SPDX-License-Identifier: Apache-2.0 */
/* The fake reactor: reactor.h without a ring and without time of its own. */
#include "support/fake_io.h"

#include <errno.h>
#include <stdlib.h>

#include "support/fake_io_private.h"

#define START_NS    1000000000u
#define TURNS_LIMIT 1000000u /* more without a rest is an endless loop */

static _Thread_local struct reactor *current;

uint64_t fake_random(struct reactor *r, uint64_t below)
{
	uint64_t x = r->seed += 0x9e3779b97f4a7c15u; /* splitmix64 */

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return (x ^ (x >> 31)) % below;
}

bool fake_chance(struct reactor *r, unsigned int percent)
{
	return percent > 0 && fake_random(r, 100) < percent;
}

struct reactor *fake_io_create(uint64_t seed)
{
	struct reactor *r = calloc(1, sizeof(*r));

	CHECK(r && !current);
	r->seed = seed;
	r->now_ns = START_NS;
	list_init(&r->ops);
	list_init(&r->tasks);
	list_init(&r->hooks);
	list_init(&r->pollers);
	pthread_mutex_init(&r->lock, NULL);
	for (unsigned int i = 0; i < FAKE_SPECIALS; i++)
		r->held[i] = -1;
	current = r;
	return r;
}

void fake_io_destroy(struct reactor *r)
{
	if (!r)
		return;
	CHECK(list_empty(&r->ops) && r->jobs_out == 0);
	timer_heap_finish(&r->timers);
	pthread_mutex_destroy(&r->lock);
	if (current == r)
		current = NULL;
	free(r);
}

struct reactor *reactor_create(const struct reactor_params *p, struct diag *d)
{
	struct reactor *r = fake_io_create(1);

	(void)d;
	r->index = p->index;
	return r;
}

void reactor_destroy(struct reactor *r)
{
	fake_io_destroy(r);
}

/* Time passes whenever nothing else does. */
void reactor_run(struct reactor *r)
{
	for (;;) {
		uint64_t next_ns;

		fake_io_run(r);
		next_ns = timer_heap_next_ns(&r->timers);
		if (r->stop && fake_io_in_flight(r, -1) == 0)
			return;
		CHECK(next_ns != TIMER_HEAP_NEVER); /* it would sleep for ever */
		fake_io_advance_ns(r, next_ns > r->now_ns ? next_ns - r->now_ns : 0);
	}
}

void reactor_stop(struct reactor *r)
{
	r->stop = true;
}

bool reactor_is_current(const struct reactor *r)
{
	return current == r;
}

struct reactor *reactor_current(void)
{
	return current;
}

unsigned int reactor_index(const struct reactor *r)
{
	return r->index;
}

uint64_t reactor_now_ns(const struct reactor *r)
{
	CHECK(reactor_is_current(r));
	return r->now_ns;
}

int reactors_start(struct reactor **set, const struct reactor_params *params, unsigned int count,
	struct diag *d)
{
	if (count != 1)
		return diag_fail(d, -ENOTSUP, "the fake reactor has no threads");
	set[0] = reactor_create(params, d);
	return 0;
}

void reactors_stop(struct reactor **set, unsigned int count)
{
	CHECK(count == 1);
	reactor_destroy(set[0]);
	set[0] = NULL;
}

void reactor_stats_read(const struct reactor *r, struct reactor_stats *to)
{
	*to = r->stats;
	to->in_flight = fake_io_in_flight(r, -1);
}

static void msg_push(struct reactor_msg **head, struct reactor_msg **tail, struct reactor_msg *msg)
{
	msg->next = NULL;
	if (*head)
		(*tail)->next = msg;
	else
		*head = msg;
	*tail = msg;
}

void reactor_post(struct reactor *target, struct reactor_msg *msg)
{
	pthread_mutex_lock(&target->lock);
	msg_push(&target->inbox_head, &target->inbox_tail, msg);
	pthread_mutex_unlock(&target->lock);
}

static bool inbox_run(struct reactor *r)
{
	struct reactor_msg *msg, *next;
	bool any;

	pthread_mutex_lock(&r->lock);
	msg = r->inbox_head;
	r->inbox_head = NULL;
	pthread_mutex_unlock(&r->lock);
	any = msg != NULL;
	for (; msg; msg = next) {
		next = msg->next;
		r->stats.messages++;
		msg->run(msg);
	}
	return any;
}

static void job_returned(struct reactor_msg *msg)
{
	struct reactor_job *job = container_of(msg, struct reactor_job, msg);

	job->home->jobs_out--;
	job->done(job);
}

void reactor_offload(struct reactor *r, struct reactor_job *job)
{
	CHECK(reactor_is_current(r));
	job->home = r;
	job->msg.run = job_returned;
	r->jobs_out++;
	msg_push(&r->jobs_head, &r->jobs_tail, &job->msg);
}

/* One job a turn, so that other things happen between it and its `done`. */
static bool job_run(struct reactor *r)
{
	struct reactor_msg *msg = r->jobs_head;
	struct reactor_job *job;

	if (!msg)
		return false;
	r->jobs_head = msg->next;
	job = container_of(msg, struct reactor_job, msg);
	current = NULL; /* a helper thread is no reactor */
	job->work(job);
	current = r;
	reactor_post(r, msg);
	return true;
}

void reactor_task_init(struct reactor_task *t, bool (*run)(struct reactor_task *))
{
	t->run = run;
	list_init(&t->link);
}

void reactor_defer(struct reactor *r, struct reactor_task *t)
{
	CHECK(reactor_is_current(r));
	if (list_empty(&t->link))
		list_add_tail(&r->tasks, &t->link);
}

void reactor_task_cancel(struct reactor_task *t)
{
	list_del(&t->link);
}

void reactor_at_turn_end(struct reactor *r, struct reactor_task *t)
{
	CHECK(reactor_is_current(r));
	if (list_empty(&t->link))
		list_add_tail(&r->hooks, &t->link);
}

static bool tasks_run(struct reactor *r, struct list *queue, bool again)
{
	struct list ready;
	bool any = !list_empty(queue);

	list_init(&ready);
	while (!list_empty(queue)) {
		struct list *link = queue->next;

		list_del(link);
		list_add_tail(&ready, link);
	}
	while (!list_empty(&ready)) {
		struct reactor_task *t = list_first(&ready, struct reactor_task, link);

		list_del(&t->link);
		if (t->run(t) && again)
			reactor_defer(r, t);
	}
	return any;
}

void reactor_timer_init(struct reactor_timer *t, void (*fire)(struct reactor_timer *))
{
	*t = (struct reactor_timer){.fire = fire, .heap_index = -1};
}

void reactor_timer_start(struct reactor *r, struct reactor_timer *t, uint64_t delay_ns)
{
	CHECK(reactor_is_current(r));
	timer_heap_set(&r->timers, t, timer_heap_deadline_ns(r->now_ns, delay_ns));
}

void reactor_timer_stop(struct reactor *r, struct reactor_timer *t)
{
	CHECK(reactor_is_current(r));
	timer_heap_remove(&r->timers, t);
}

static bool timers_fire(struct reactor *r)
{
	struct reactor_timer *t;
	bool any = false;

	while ((t = timer_heap_pop_due(&r->timers, r->now_ns)) != NULL) {
		r->stats.timers++;
		t->fire(t);
		any = true;
	}
	return any;
}

void reactor_poller_add(struct reactor *r, struct reactor_poller *p)
{
	CHECK(reactor_is_current(r));
	list_add_tail(&r->pollers, &p->link);
	r->pollers_armed = false;
}

void reactor_poller_remove(struct reactor *r, struct reactor_poller *p)
{
	CHECK(reactor_is_current(r));
	list_del(&p->link);
}

static bool pollers_poll(struct reactor *r)
{
	bool found = false;

	list_for_each (pos, &r->pollers)
		found |= list_entry(pos, struct reactor_poller, link)
				 ->poll(list_entry(pos, struct reactor_poller, link));
	return found;
}

static void pollers_arm(struct reactor *r, bool arm)
{
	if (r->pollers_armed == arm)
		return;
	r->pollers_armed = arm;
	list_for_each (pos, &r->pollers) {
		struct reactor_poller *p = list_entry(pos, struct reactor_poller, link);

		if (arm)
			p->arm(p);
		else
			p->disarm(p);
	}
}

static void op_complete(struct reactor *r, struct fake_op *f, int res, bool more)
{
	struct io_op *op = f->op;

	r->stats.cqes++;
	if (!more) {
		op->in_flight = false;
		fake_op_free(f);
	}
	op->done(op, res, more ? IO_MORE : 0);
}

static struct fake_op **ops_shuffled(struct reactor *r, unsigned int *count)
{
	struct fake_op **ops;
	unsigned int room = fake_io_in_flight(r, -1), n = 0;

	ops = calloc(room + 1, sizeof(struct fake_op *));
	CHECK(ops);
	list_for_each (pos, &r->ops) {
		unsigned int other = (unsigned int)fake_random(r, n + 1);

		ops[n] = ops[other];
		ops[other] = list_entry(pos, struct fake_op, link);
		n++;
	}
	*count = n;
	return ops;
}

/* Tries the ops in flight in random order; after a completion the turn may go on without the rest,
 * for they come in batches of any size. */
static bool ops_run(struct reactor *r)
{
	unsigned int count;
	struct fake_op **ops = ops_shuffled(r, &count);
	bool any = false;

	for (unsigned int i = 0; i < count && !(any && fake_chance(r, 25)); i++) {
		int res = 0;
		enum fake_outcome outcome = fake_op_try(r, ops[i], &res);

		if (outcome == FAKE_PENDING)
			continue;
		op_complete(r, ops[i], res, outcome == FAKE_GOES_ON);
		any = true;
	}
	free(ops);
	return any;
}

bool fake_io_turn(struct reactor *r)
{
	bool any;

	CHECK(reactor_is_current(r));
	r->stats.turns++;
	fake_ops_submit(r);
	any = ops_run(r);
	any |= job_run(r);
	any |= inbox_run(r);
	any |= timers_fire(r);
	if (!r->pollers_armed)
		any |= pollers_poll(r);
	any |= tasks_run(r, &r->tasks, true);
	any |= tasks_run(r, &r->hooks, false);
	if (any)
		return true;
	/* About to sleep. */
	if (r->pollers_armed || list_empty(&r->pollers))
		return false;
	pollers_arm(r, true);
	return pollers_poll(r);
}

unsigned int fake_io_run(struct reactor *r)
{
	uint64_t before = r->stats.cqes;
	unsigned int turns = 0;

	/* Hot or cold, as it comes. */
	if (fake_chance(r, 50))
		pollers_arm(r, false);
	while (fake_io_turn(r))
		CHECK(++turns < TURNS_LIMIT);
	return (unsigned int)(r->stats.cqes - before);
}

void fake_io_advance_ns(struct reactor *r, uint64_t delay_ns)
{
	uint64_t until_ns = r->now_ns + delay_ns;

	CHECK(until_ns >= r->now_ns && until_ns < TIMER_HEAP_NEVER);
	fake_io_run(r);
	while (timer_heap_next_ns(&r->timers) <= until_ns) {
		uint64_t next_ns = timer_heap_next_ns(&r->timers);

		if (next_ns > r->now_ns)
			r->now_ns = next_ns;
		fake_io_run(r);
	}
	r->now_ns = until_ns;
}

void fake_io_set_faults(struct reactor *r, const struct fake_io_faults *faults)
{
	r->faults = *faults;
}

void fake_io_fail_next(struct reactor *r, int fd, int err)
{
	CHECK(err < 0);
	for (unsigned int i = 0; i < FAKE_SPECIALS; i++)
		if (r->fails[i].err == 0) {
			r->fails[i].fd = fd;
			r->fails[i].err = err;
			return;
		}
	CHECK(!"room for another failure");
}

void fake_io_hold(struct reactor *r, int fd, bool hold)
{
	CHECK(fd >= 0);
	for (unsigned int i = 0; i < FAKE_SPECIALS; i++)
		if (r->held[i] == (hold ? -1 : fd)) {
			r->held[i] = hold ? fd : -1;
			return;
		}
	CHECK(!hold); /* no room */
}

unsigned int fake_io_in_flight(const struct reactor *r, int fd)
{
	unsigned int count = fd < 0 ? r->jobs_out : 0;

	list_for_each (pos, &r->ops)
		if (fd < 0 || list_entry(pos, struct fake_op, link)->fd == fd)
			count++;
	return count;
}
