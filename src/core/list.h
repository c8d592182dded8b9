/* SPDX-License-Identifier: Apache-2.0 */
/* An intrusive doubly linked list; an entry that is in no list points at itself. */
#ifndef CORE_LIST_H
#define CORE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "core/check.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

/* Adds `entry`, which must be in no list, before `at`: at the tail if `at` is the head. */
static inline void list_add_tail(struct list *at, struct list *entry)
{
	entry->prev = at->prev;
	entry->next = at;
	at->prev->next = entry;
	at->prev = entry;
}

/* Safe on an entry that is in no list (but initialised). */
static inline void list_del(struct list *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	list_init(entry);
}

/* Moves all entries of `from` to `to`, an empty list. */
static inline void list_take(struct list *from, struct list *to)
{
	list_init(to);
	if (list_empty(from))
		return;
	*to = *from;
	to->next->prev = to->prev->next = to;
	list_init(from);
}

#define list_entry(ptr, type, member)  container_of(ptr, type, member)
#define list_first(head, type, member) list_entry((head)->next, type, member)

#define list_for_each(pos, head)                                                                   \
	for (struct list *pos = (head)->next; pos != (head); pos = pos->next)

/* `pos` may be deleted in the body. */
#define list_for_each_safe(pos, head)                                                              \
	for (struct list *pos = (head)->next, *pos##_next = pos->next; pos != (head);              \
		pos = pos##_next, pos##_next = pos->next)

#endif
