/* SPDX-License-Identifier: Apache-2.0 */
/* A run's result as a table for people and as JSON for programs. */
#ifndef PERF_REPORT_H
#define PERF_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "perf/env.h"
#include "perf/harness.h"

/* report_env, report_text: aligned text, in UTF-8. */
void report_env(FILE *to, const struct env *e, const struct bench_options *o);
void report_text(FILE *to, const struct bench_result *r);

/* report_env_json, report_json: new objects, owned by the caller; NULL without memory. */
json_t *report_env_json(const struct env *e, const struct bench_options *o);
json_t *report_json(const struct bench_result *r);

/* report_stat_name: "p50" … "max", "min". */
const char *report_stat_name(enum bench_stat stat);

#endif
