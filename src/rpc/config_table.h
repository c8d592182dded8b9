/* SPDX-License-Identifier: Apache-2.0 */
/* The GuestConfig table (wire.md, "GuestConfig table") to and from struct guest_config. */
#ifndef RPC_CONFIG_TABLE_H
#define RPC_CONFIG_TABLE_H

#include <stdint.h>

#include "core/config.h"
#include "rpc/codec.h"

/* config_table_decode: the table of a Create or Launch call into an initialised config, which owns
 * all it holds; descriptors that the table names move from the frame into the config, each at most
 * once. What the table leaves out keeps its default. This judges the encoding alone; config_check
 * judges the values. CODEC_OK, or CODEC_REFUSED with BAD_CONFIG in the domain of the call's method
 * (INTERNAL_ERROR or NO_STORAGE there when memory is short); the config is as after config_init
 * then. frame_finish closes the descriptors that the config did not name. */
enum codec_verdict config_table_decode(const struct codec_message *call, struct frame *f,
	struct guest_config *config, struct codec_fault *fault);

/* config_table_listeners: the vsock_listeners (struct config_listener) of a Create or Launch call,
 * to be walked; none, if it is another message, there are more than CONFIG_LISTENERS_MAX, or the
 * table does not decode. */
void config_table_listeners(const struct codec_message *call, struct wire_cursor *cursor);

/* config_table_encode: the fields of `config` whose bit is given, to `w`; *t views them, ready for
 * a create_call or launch_call; `fds` gets the descriptors to attach, still the config's, *nfds
 * their number. 0, -EMSGSIZE (over w's room), -EINVAL (a string is not UTF-8), -E2BIG (more than
 * FRAME_FDS_MAX descriptors), -ENOMEM; text in `d`. */
int config_table_encode(const struct guest_config *config, struct wire_writer *w,
	struct wire_table *t, int fds[FRAME_FDS_MAX], uint8_t *nfds, struct diag *d);

#endif
