/* SPDX-License-Identifier: Apache-2.0 */
/* Who of one process's guests can be reached by others, by address: which reactor to ask, and, on
 * that reactor, what answers.
 *
 * The lock is for the moments in which a guest is made, begins, ends, or asks for another; nothing
 * that is said between two guests passes here. */
#ifndef CORE_NEIGHBOURS_H
#define CORE_NEIGHBOURS_H

#include <stdint.h>

#include "core/diag.h"
#include "core/list.h"

struct reactor;
struct neighbours;

/* Embedded in what answers. */
struct neighbour {
	uint32_t cid;
	/* Private. */
	struct list link;
	struct reactor *home; /* NULL: made, but not there */
};

/* neighbours_create: nobody is there; NULL: no memory. neighbours_destroy: all have left; NULL is
 * fine. Any thread. */
struct neighbours *neighbours_create(void);
void neighbours_destroy(struct neighbours *all);

/* neighbours_join: the address is this one's from now on; -EADDRINUSE with text. neighbours_leave:
 * it is free again. Any thread. */
int neighbours_join(struct neighbours *all, struct neighbour *me, uint32_t cid, struct diag *d);
void neighbours_leave(struct neighbours *all, struct neighbour *me);

/* neighbours_attach: it answers on this reactor. neighbours_detach: no more. On that reactor. */
void neighbours_attach(struct neighbours *all, struct neighbour *me, struct reactor *home);
void neighbours_detach(struct neighbours *all, struct neighbour *me);

/* neighbours_home: the reactor to ask; NULL: nobody is there. Any thread. neighbours_find: the one
 * that answers here; valid until the calling message or completion has returned. NULL: it has gone,
 * or is elsewhere. On `here`. */
struct reactor *neighbours_home(struct neighbours *all, uint32_t cid);
struct neighbour *neighbours_find(struct neighbours *all, uint32_t cid, struct reactor *here);

#endif
