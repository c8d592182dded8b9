/* SPDX-License-Identifier: Apache-2.0 */
/* A guest slot on a real reactor and real KVM, driven by a script of steps. */
#ifndef SUPPORT_GUEST_RIG_H
#define SUPPORT_GUEST_RIG_H

#include "core/guest.h"

#define RIG_CALLS 16

struct rig;

/* One call and what came of it. */
struct rig_call {
	struct guest_call call;
	struct rig *rig;
	bool done;
	unsigned int order; /* 1: the first that was answered */
	enum guest_error err;
	char detail[DIAG_TEXT_MAX];
};

struct rig {
	struct reactor *r;
	struct vm_host host;
	struct guest_env env;
	struct guest *guest;
	struct rig_call calls[RIG_CALLS];
	unsigned int answered;
	struct reactor_timer deadline; /* a script that hangs ends the test, loudly */

	/* Called after each answer (and once at the start); the script's own state machine. */
	void (*step)(struct rig *rig);
	unsigned int at; /* for the script */

	int serial; /* the client's end of the guest's serial port; -1: none */
	char text[65536];
	unsigned int text_len;
	struct io_file serial_file;
	struct io_op serial_op;
};

/* rig_skip_without_kvm: skips the test, with the reason, where there is no KVM. */
void rig_skip_without_kvm(void);

/* rig_run: runs `step` until rig_finish; checks that the slot is idle at the end. */
void rig_run(struct rig *rig, void (*step)(struct rig *rig));
/* rig_finish: stops the guest if need be, then ends rig_run. */
void rig_finish(struct rig *rig);

/* rig_config: the embedded guest with 16 MiB and one CPU, running the commands "cmd;cmd". */
void rig_config(struct guest_config *c, const char *commands);
void rig_create(struct rig *rig, unsigned int call, struct guest_config *c);
void rig_start(struct rig *rig, unsigned int call);
void rig_stop(struct rig *rig, unsigned int call);
void rig_bind(struct rig *rig, unsigned int call, struct guest_watch *w);

/* rig_read_serial: collects the guest's serial output in rig->text (NUL-terminated) from now on and
 * calls `step` after each piece. */
void rig_read_serial(struct rig *rig);

#endif
