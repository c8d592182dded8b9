/* SPDX-License-Identifier: Apache-2.0 */
/* Errors of calls to exit statuses. */
#include "rpc/ringctl/session.h"

#include <errno.h>
#include <stdio.h>

#include "core/check.h"
#include "core/guest_error.h"
#include "rpc/ringctl/output.h"

struct rv_client *session_open(const struct ctl *ctl, enum ctl_exit *status)
{
	return session_open_events(ctl, NULL, NULL, status);
}

struct rv_client *session_open_events(
	const struct ctl *ctl, const struct rv_events *events, void *user, enum ctl_exit *status)
{
	struct rv_error error;
	struct rv_client *client = rv_connect(ctl->socket, events, user, SESSION_CALL_MS, &error);
	char text[sizeof(error.detail) + 64];

	*status = CTL_OK;
	if (client)
		return client;
	snprintf(
		text, sizeof(text), "%s; is the daemon running ('ringvisor serve')?", error.detail);
	*status = output_error(ctl, rv_error_name(&error), CTL_UNREACHABLE, text);
	return NULL;
}

/* Of this process or of the connection. */
static enum ctl_exit system_status(uint32_t code)
{
	switch (code) {
	case ETIMEDOUT:
	case EINVAL:
	case ENOMEM:
	case E2BIG:
	case EMSGSIZE:
	case EMFILE:
		return CTL_FAILURE;
	default:
		return CTL_UNREACHABLE;
	}
}

static enum ctl_exit status_of(const struct rv_error *error)
{
	switch (error->domain) {
	case RV_DOMAIN_SYSTEM:
		return system_status(error->code);
	case RV_DOMAIN_GUEST:
		return error->code == RV_GUEST_BAD_CONFIG ? CTL_USAGE : CTL_FAILURE;
	case RV_DOMAIN_STATUS:
		return error->code == RV_STATUS_NOT_FOUND ? CTL_NO_GUEST : CTL_FAILURE;
	case RV_DOMAIN_MANAGER:
		if (error->code == RV_MANAGER_NOT_RUNNING)
			return CTL_NO_GUEST;
		return error->code == RV_MANAGER_BAD_CONFIG ? CTL_USAGE : CTL_FAILURE;
	default:
		return CTL_FAILURE;
	}
}

enum ctl_exit session_fail(const struct ctl *ctl, const struct rv_error *error)
{
	return output_error(ctl, rv_error_name(error), status_of(error), error->detail);
}

const char *session_guest_error(uint32_t stop_error)
{
	return guest_error_name(stop_error);
}

const char *session_status(uint32_t guest_status)
{
	static const char *const names[] = {"unknown", "not-started", "starting", "running",
		"stopping", "stopped", "vmm-unexpected-termination"};

	return guest_status < ARRAY_SIZE(names) ? names[guest_status] : names[0];
}
