/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmarks that main.c's table lists; one bench_NAME.c each. */
#ifndef PERF_BENCH_H
#define PERF_BENCH_H

#include "perf/harness.h"

extern const struct bench bench_boot;
extern const struct bench bench_calls;
extern const struct bench bench_clock_cost;
extern const struct bench bench_console_echo;
extern const struct bench bench_console_echo_apart;
extern const struct bench bench_console_echo_spin;
extern const struct bench bench_console_echo_together;
extern const struct bench bench_console_in;
extern const struct bench bench_console_out;
extern const struct bench bench_density;
extern const struct bench bench_exit;
extern const struct bench bench_idle;
extern const struct bench bench_inflate;
extern const struct bench bench_kick_busy;
extern const struct bench bench_kick_idle;
extern const struct bench bench_ping;
extern const struct bench bench_plug;
extern const struct bench bench_receive_calls;
extern const struct bench bench_receive_ping;
extern const struct bench bench_queue_kick;
extern const struct bench bench_queue_push;
extern const struct bench bench_serve_start;
extern const struct bench bench_trace_console;
extern const struct bench bench_trace_instructions;
extern const struct bench bench_trace_vsock;
extern const struct bench bench_unplug;
extern const struct bench bench_vsock_connect;
extern const struct bench bench_vsock_in;
extern const struct bench bench_vsock_out;
extern const struct bench bench_vsock_ping;
extern const struct bench bench_vsock_streams;
extern const struct bench bench_wake;

#endif
