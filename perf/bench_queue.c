/* SPDX-License-Identifier: Apache-2.0 */
/* queue-kick: from the guest's doorbell to vq_pop. queue-push: from vq_push to the guest's seeing
 * it. A real guest under KVM, its vCPU on the first chosen CPU and the reactor on the second; the
 * times are by the time stamp counter that both read. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/check.h"
#include "core/guest.h"
#include "guest_elf.h"
#include "perf/bench.h"
#include "perf/bench_kick.h"
#include "perf/stamps_device.h"

#define READY_S  30
#define SLEEP_NS 1000000

struct queue_case {
	const char *guest; /* the command that the guest runs */
	unsigned int poll_us;
	bool busy; /* the reactor always has something to do */
	bool bare; /* the interrupt is a bare write to the irqfd */
	bool push; /* vq_push until seen, else doorbell until vq_pop */
};

struct queue_bench {
	const struct queue_case *of;
	struct vm_host host;
	struct guest_env env;
	struct reactor *home;
	pthread_t thread;
	struct guest *guest;
	struct guest_call create, run, stop;
	struct stamps_device *device;
	struct reactor_msg msg; /* what the calling thread has the reactor do */
	void (*ask)(struct queue_bench *b);
	sem_t done; /* it has */
	enum guest_error err;
	char detail[DIAG_TEXT_MAX];
	struct reactor_task busy;
	bool is_open;
};

/* --- on the reactor --- */

static void ask_run(struct reactor_msg *msg)
{
	struct queue_bench *b = container_of(msg, struct queue_bench, msg);

	b->ask(b);
}

static void call_answered(struct queue_bench *b, enum guest_error err, const char *detail)
{
	b->err = err;
	snprintf(b->detail, sizeof(b->detail), "%s", detail);
	sem_post(&b->done);
}

static void create_done(struct guest_call *call, enum guest_error err, const char *detail)
{
	call_answered(container_of(call, struct queue_bench, create), err, detail);
}

/* Only when the guest is stopped: nobody waits for it. */
static void run_done(struct guest_call *call, enum guest_error err, const char *detail)
{
	(void)call;
	(void)err;
	(void)detail;
}

static void stop_done(struct guest_call *call, enum guest_error err, const char *detail)
{
	call_answered(container_of(call, struct queue_bench, stop), err, detail);
}

static void ask_create(struct queue_bench *b)
{
	struct guest_config c;
	char command[128];

	config_init(&c);
	snprintf(command, sizeof(command), "run=%s", b->of->guest);
	free(c.cmdline);
	c.cmdline = strdup(command);
	c.kernel_type = KERNEL_BUILTIN;
	c.cpus = 1;
	c.guest_memory = 16 << 20;
	c.rng = true;
	c.given = CONFIG_BIT(CONFIG_KERNEL_TYPE) | CONFIG_BIT(CONFIG_CPUS) |
		  CONFIG_BIT(CONFIG_GUEST_MEMORY) | CONFIG_BIT(CONFIG_CMDLINE) |
		  CONFIG_BIT(CONFIG_RNG);
	b->create.done = create_done;
	guest_create(b->guest, &b->create, &c);
	config_finish(&c);
}

static void ask_start(struct queue_bench *b)
{
	b->device = stamps_of(b->guest->machine);
	b->device->bare = b->of->bare;
	b->run.done = run_done;
	guest_run(b->guest, &b->run);
	sem_post(&b->done);
}

static void ask_look(struct queue_bench *b)
{
	b->is_open = b->device->held;
	sem_post(&b->done);
}

static bool busy_turn(struct reactor_task *t)
{
	return container_of(t, struct queue_bench, busy)->is_open;
}

static void ask_open(struct queue_bench *b)
{
	b->is_open = true;
	stamps_open(b->device);
	if (b->of->busy)
		reactor_defer(b->home, &b->busy);
	sem_post(&b->done);
}

static void ask_close(struct queue_bench *b)
{
	b->is_open = false;
	stamps_close(b->device);
	sem_post(&b->done);
}

static void ask_stop(struct queue_bench *b)
{
	b->stop.done = stop_done;
	guest_stop(b->guest, &b->stop);
}

static void *home_main(void *arg)
{
	reactor_run(arg);
	return NULL;
}

/* --- on the calling thread --- */

static void ask(struct queue_bench *b, void (*what)(struct queue_bench *b))
{
	b->ask = what;
	b->msg.run = ask_run;
	reactor_post(b->home, &b->msg);
	while (sem_wait(&b->done))
		;
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
}

static void bench_free(struct queue_bench *b)
{
	if (b->guest && b->guest->state != GUEST_NONE)
		ask(b, ask_stop);
	if (b->home) {
		reactor_stop(b->home);
		pthread_join(b->thread, NULL);
		guest_free(b->guest);
		reactor_destroy(b->home);
	}
	vm_host_close(&b->host);
	sem_destroy(&b->done);
	free(b);
}

/* The vCPU's thread will have the CPUs of the thread that opens KVM. */
static int host_open(struct queue_bench *b, const struct bench_options *o, struct diag *d)
{
	cpu_set_t before;
	int err;

	CHECK(sched_getaffinity(0, sizeof(before), &before) == 0);
	if (o->cpus > 1)
		bench_pin(bench_cpu(o, 0));
	err = vm_host_open(&b->host, NULL, d);
	sched_setaffinity(0, sizeof(before), &before);
	return err;
}

static int home_start(struct queue_bench *b, const struct bench_options *o, struct diag *d)
{
	static const struct device_class *const classes[] = {&stamps_class, NULL};
	struct reactor_params params = {
		.core = o->cpus > 1 ? bench_cpu(o, 1) : -1, .poll_us = b->of->poll_us};
	int err;

	b->env = (struct guest_env){.host = &b->host,
		.builtin = {.data = ringvisor_guest_elf,
			.len_bytes = ringvisor_guest_elf_len,
			.name = "embedded guest"},
		.classes = classes,
		.limits = {.cores = 1, .built_devices = stamps_class.config_bit}};
	b->home = reactor_create(&params, d);
	if (!b->home)
		return -ENOTSUP;
	b->guest = guest_new("bench", b->home, &b->env);
	CHECK(b->guest);
	err = pthread_create(&b->thread, NULL, home_main, b->home);
	CHECK(!err);
	return 0;
}

/* Until the guest's first chain is there. */
static int guest_start(struct queue_bench *b, struct diag *d)
{
	ask(b, ask_create);
	if (b->err)
		return diag_fail(d, -EIO, "%s", b->detail);
	ask(b, ask_start);
	for (unsigned int ms = 0; ms < READY_S * 1000; ms++) {
		ask(b, ask_look);
		if (b->is_open)
			return 0;
		nap();
	}
	return diag_fail(d, -ETIMEDOUT, "the guest's first chain does not come");
}

static int queue_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	struct queue_bench *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return -ENOMEM;
	b->of = v->arg;
	sem_init(&b->done, 0, 0);
	reactor_task_init(&b->busy, busy_turn);
	if (host_open(b, o, d)) {
		sem_destroy(&b->done);
		free(b);
		return -ENOTSUP; /* `d` names the reason */
	}
	err = home_start(b, o, d);
	if (!err)
		err = guest_start(b, d);
	if (err) {
		bench_free(b);
		return err;
	}
	*state = b;
	return 0;
}

static int queue_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct queue_bench *b = state;
	const struct stamps_device *dev = b->device;
	uint64_t start_ns, start_ticks;
	unsigned int waited = 0;
	double ns_per_tick;

	ask(b, ask_open);
	start_ns = bench_monotonic_ns();
	start_ticks = stamps_clock();
	do
		nap();
	while (bench_more(s) ||
		(!__atomic_load_n(&dev->count, __ATOMIC_ACQUIRE) && waited++ < READY_S * 1000));
	ns_per_tick =
		(double)(bench_monotonic_ns() - start_ns) / (double)(stamps_clock() - start_ticks);
	ask(b, ask_close);
	if (!dev->count)
		return diag_fail(d, -EIO,
			"no times that can be: the guest's time stamp counter is not the host's");
	for (uint32_t i = 0; i < dev->count; i++)
		hist_record(
			s->latency, (uint64_t)((double)(b->of->push ? dev->push[i] : dev->kick[i]) *
					       ns_per_tick));
	bench_count(s, dev->count, 0);
	return 0;
}

static void queue_teardown(void *state)
{
	bench_free(state);
}

/* --- the tables --- */

static const struct queue_case idle = {.guest = "stamps gap=100"};
static const struct queue_case polled = {.guest = "stamps gap=10", .poll_us = 200};
static const struct queue_case busy = {.guest = "stamps gap=10", .busy = true};
static const struct queue_case bare_irq = {.guest = "stamps gap=100", .bare = true, .push = true};
static const struct queue_case irq = {.guest = "stamps gap=100", .push = true};
static const struct queue_case seen = {.guest = "stamps gap=100 spin=5000", .push = true};

#define CASE(of_case)                                                                              \
	.arg = &(of_case), .setup = queue_setup, .slice = queue_slice, .teardown = queue_teardown

static const struct bench_variant kick_variants[] = {
	{.name = "bare eventfd, read asleep",
		.role = BENCH_LIMIT,
		.arg = &kick_read_idle,
		.setup = kick_setup,
		.slice = kick_slice,
		.teardown = kick_teardown},
	{.name = "idle reactor", CASE(idle)},
	{.name = "polling reactor", CASE(polled)},
	{.name = "busy reactor", CASE(busy)},
};

static const struct bench_variant push_variants[] = {
	{.name = "bare irqfd, guest halted", .role = BENCH_LIMIT, CASE(bare_irq)},
	{.name = "interrupt, guest halted", CASE(irq)},
	{.name = "guest polls", CASE(seen)},
};

const struct bench bench_queue_kick = {
	.name = "queue-kick",
	.summary = "the guest's doorbell, until vq_pop on the reactor has the chain",
	.variant = kick_variants,
	.variants = ARRAY_SIZE(kick_variants),
};

const struct bench bench_queue_push = {
	.name = "queue-push",
	.summary = "vq_push on the reactor, until the guest has seen it",
	.variant = push_variants,
	.variants = ARRAY_SIZE(push_variants),
};
