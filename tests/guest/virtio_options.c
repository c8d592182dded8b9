/* SPDX-License-Identifier: Apache-2.0 */
/* The words by which a command says how to drive a device. */
#include "lib.h"
#include "shell.h"
#include "virtio_pci.h"

bool virtio_option_parse(const char *word, struct virtio_options *options)
{
	uint64_t number;
	if (!strcmp(word, "split") || !strcmp(word, "packed"))
		options->packed = word[0] == 'p';
	else if (!strcmp(word, "indirect") || !strcmp(word, "direct"))
		options->indirect = word[0] == 'i';
	else if (!strcmp(word, "event") || !strcmp(word, "noevent"))
		options->event_idx = word[0] == 'e';
	else if (!strcmp(word, "poll") || !strcmp(word, "irq"))
		options->irq = word[0] == 'i';
	else if (!strncmp(word, "queue=", 6) && number_parse(word + 6, &number) && number &&
		 number <= VRING_SIZE_MAX)
		options->queue_size = (uint16_t)number;
	else
		return false;
	return true;
}

bool virtio_option_features(
	const struct virtio_dev *dev, const struct virtio_options *options, uint64_t *features)
{
	const struct {
		bool wanted;
		uint64_t bit;
		const char *name;
	} named[] = {
		{options->packed, VIRTIO_F_RING_PACKED, "packed rings"},
		{options->indirect, VIRTIO_F_INDIRECT_DESC, "indirect descriptors"},
		{options->event_idx, VIRTIO_F_EVENT_IDX, "EVENT_IDX"},
	};
	*features = 0;
	for (size_t i = 0; i < ARRAY_SIZE(named); i++) {
		if (named[i].wanted && !(dev->offered & named[i].bit))
			return fail("the device does not offer %s", named[i].name);
		if (named[i].wanted)
			*features |= named[i].bit;
	}
	return true;
}
