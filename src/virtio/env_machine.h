/* SPDX-License-Identifier: Apache-2.0 */
/* The env of a device on a real machine: KVM by core/vm.h. */
#ifndef VIRTIO_ENV_MACHINE_H
#define VIRTIO_ENV_MACHINE_H

#include "core/machine.h"
#include "virtio/env.h"

/* virtio_env_init: for device_class.create; the reactor is set by virtio_env_attach, for
 * device_class.attach. */
void virtio_env_init(struct virtio_env *env, struct machine *m);
void virtio_env_attach(struct virtio_env *env, struct machine *m);

#endif
