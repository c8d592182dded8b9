/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What listens as long as there is a vsock device, as inetd's small services did:
 *   port 7   echo     sends back what comes; after the other end's last byte it ends, too
 *   port 9   discard  takes everything; ends with the other end
 *   port 19  source   sends the stream "mix" of pattern.h from its byte 0 on, for ever; takes
 * everything
 */
#include "lib.h"
#include "page.h"
#include "pattern.h"
#include "vsock.h"
#include "vsock_stream.h"

static bool drop(struct vsock_conn *c, const uint8_t *data, uint32_t len)
{
	(void)data;
	vsock_consumed(c, len);
	return true;
}

static uint32_t offer_nothing(struct vsock_conn *c, uint32_t max, const uint8_t **data)
{
	(void)c, (void)max, (void)data;
	return 0;
}

static uint32_t ends_with_peer(const struct vsock_conn *c)
{
	return c->peer_ended & VSOCK_SHUTDOWN_SEND ? VSOCK_SHUTDOWN_BOTH : 0;
}

static uint32_t ends_never(const struct vsock_conn *c)
{
	(void)c;
	return 0;
}

/* --- echo: a ring; done <= offered <= kept_end --- */

static bool echo_receive(struct vsock_conn *c, const uint8_t *data, uint32_t len)
{
	if (c->peer_ended & VSOCK_SHUTDOWN_RCV)
		return drop(c, data, len);
	if (!c->kept)
		c->kept = page_alloc(c->buf_alloc / PAGE_SIZE);
	if (!c->kept)
		return false;
	uint32_t at = (uint32_t)(c->kept_end % c->buf_alloc);
	uint32_t part = len < c->buf_alloc - at ? len : c->buf_alloc - at;
	memcpy(c->kept + at, data, part);
	memcpy(c->kept, data + part, len - part);
	c->kept_end += len;
	vsock_conn_wake(c);
	return true;
}

static uint32_t echo_offer(struct vsock_conn *c, uint32_t max, const uint8_t **data)
{
	uint32_t at = (uint32_t)(c->offered % c->buf_alloc);
	uint64_t len = c->kept_end - c->offered;
	if (len > c->buf_alloc - at)
		len = c->buf_alloc - at;
	if (len > max)
		len = max;
	*data = c->kept + at;
	c->offered += len;
	return (uint32_t)len;
}

static void echo_sent(struct vsock_conn *c, uint32_t len)
{
	c->done += len;
	vsock_consumed(c, len);
}

/* While there is something left that can still be sent it goes on. */
static uint32_t echo_ends(const struct vsock_conn *c)
{
	bool has_more = c->offered != c->kept_end && !(c->peer_ended & VSOCK_SHUTDOWN_RCV);
	return has_more ? 0 : ends_with_peer(c);
}

/* --- source --- */

const uint8_t *vsock_pattern(void)
{
	static uint8_t *pattern;
	if (pattern)
		return pattern;
	pattern = page_alloc(2 * PATTERN_PERIOD / PAGE_SIZE);
	if (!pattern)
		return NULL;
	pattern_fill(PATTERN_MIX, pattern);
	memcpy(pattern + PATTERN_PERIOD, pattern, PATTERN_PERIOD);
	return pattern;
}

static uint32_t source_offer(struct vsock_conn *c, uint32_t max, const uint8_t **data)
{
	*data = vsock_pattern();
	if (!*data)
		return 0;
	*data += c->offered % PATTERN_PERIOD;
	c->offered += max;
	return max;
}

_Static_assert(VSOCK_PACKET_MAX <= PATTERN_PERIOD, "a packet lies within the pattern twice over");

/* --- the table --- */

static const struct {
	uint32_t port;
	struct vsock_service service;
} services[] = {
	{VSOCK_PORT_ECHO, {.name = "echo",
				  .keeps = true,
				  .receive = echo_receive,
				  .offer = echo_offer,
				  .sent = echo_sent,
				  .ends = echo_ends}},
	{VSOCK_PORT_DISCARD, {.name = "discard",
				     .receive = drop,
				     .offer = offer_nothing,
				     .ends = ends_with_peer}},
	{VSOCK_PORT_SOURCE,
		{.name = "source", .receive = drop, .offer = source_offer, .ends = ends_never}},
};

const struct vsock_service *vsock_listener(uint32_t port, void **owner)
{
	for (size_t i = 0; i < ARRAY_SIZE(services); i++)
		if (services[i].port == port)
			return &services[i].service;
	return vsock_stream_listener(port, owner);
}

void vsock_service_release(struct vsock_conn *c)
{
	if (c->kept)
		page_free(c->kept, c->buf_alloc / PAGE_SIZE);
	c->kept = NULL;
}
