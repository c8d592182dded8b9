/* SPDX-License-Identifier: Apache-2.0 */
/* The names of the numbers. */
#include <string.h>

#include "core/check.h"
#include "rpc/client_private.h"

const char *rv_error_name(const struct rv_error *error)
{
	const char *name;

	switch (error->domain) {
	case RV_DOMAIN_GUEST:
		return guest_error_name(error->code);
	case RV_DOMAIN_STATUS:
		return status_name(error->code);
	case RV_DOMAIN_MANAGER:
		return manager_error_name(error->code);
	case RV_DOMAIN_SYSTEM:
		name = strerrorname_np((int)error->code);
		return name ? name : "UNKNOWN";
	default:
		return "UNKNOWN";
	}
}

const char *rv_status_name(uint32_t status)
{
	return status_name(status);
}

const char *rv_guest_status_name(uint32_t guest_status)
{
	static const char *const names[] = {
		[RV_GUEST_NOT_STARTED] = "NOT_STARTED",
		[RV_GUEST_STARTING] = "STARTING",
		[RV_GUEST_RUNNING] = "RUNNING",
		[RV_GUEST_STOPPING] = "STOPPING",
		[RV_GUEST_STOPPED] = "STOPPED",
		[RV_GUEST_UNEXPECTED_TERMINATION] = "VMM_UNEXPECTED_TERMINATION",
	};

	return guest_status && guest_status < ARRAY_SIZE(names) ? names[guest_status] : "UNKNOWN";
}
