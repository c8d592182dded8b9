/* SPDX-License-Identifier: Apache-2.0 */
/* The record of where figures come from: without it they cannot be compared. */
#ifndef PERF_ENV_H
#define PERF_ENV_H

#include <stdbool.h>

#define ENV_TEXT_MAX 128

struct env {
	char time[32];                /* UTC, ISO 8601 */
	char commit[ENV_TEXT_MAX];    /* git describe when it was built, or "unknown" */
	char build[ENV_TEXT_MAX];     /* compiler and build type */
	char kernel[ENV_TEXT_MAX];    /* uname -r */
	char cpu[ENV_TEXT_MAX];       /* model name, or "unknown" */
	char governor[ENV_TEXT_MAX];  /* of the first CPU, or "none" */
	char hypervisor[16];          /* as CPUID leaf 0x40000000 names it; "none" on bare metal */
	unsigned int online;          /* CPUs */
	bool sanitized;               /* figures of such a build say nothing */
	bool kvm;                     /* /dev/kvm can be opened */
	bool hardware_virtualization; /* VMX or SVM is offered to this kernel */
	double load;                  /* one minute's load average when the record was made */
	double clock_ns;              /* what reading the clock costs: included in every latency */
};

/* env_read: what cannot be read says so in its field; never fails. Any thread. */
void env_read(struct env *e);

#endif
