/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the numbered results. */
#include "core/guest_error.h"

#include "core/check.h"

static const char *name_of(const char *const *names, unsigned int count, unsigned int i)
{
	return i < count && names[i] ? names[i] : "UNKNOWN";
}

const char *guest_error_name(unsigned int error)
{
	static const char *const names[] = {
		[GUEST_OK] = "OK",
		[GUEST_INTERNAL_ERROR] = "INTERNAL_ERROR",
		[GUEST_DEVICE_NOT_PRESENT] = "DEVICE_NOT_PRESENT",
		[GUEST_BAD_CONFIG] = "BAD_CONFIG",
		[GUEST_INITIALIZATION_FAILURE] = "GUEST_INITIALIZATION_FAILURE",
		[GUEST_DEVICE_INITIALIZATION_FAILURE] = "DEVICE_INITIALIZATION_FAILURE",
		[GUEST_DEVICE_START_FAILURE] = "DEVICE_START_FAILURE",
		[GUEST_DEVICE_MEMORY_OVERLAP] = "DEVICE_MEMORY_OVERLAP",
		[GUEST_FAILED_SERVICE_CONNECT] = "FAILED_SERVICE_CONNECT",
		[GUEST_DUPLICATE_PUBLIC_SERVICES] = "DUPLICATE_PUBLIC_SERVICES",
		[GUEST_KERNEL_LOAD_FAILURE] = "KERNEL_LOAD_FAILURE",
		[GUEST_VCPU_START_FAILURE] = "VCPU_START_FAILURE",
		[GUEST_VCPU_RUNTIME_FAILURE] = "VCPU_RUNTIME_FAILURE",
		[GUEST_NOT_CREATED] = "NOT_CREATED",
		[GUEST_ALREADY_RUNNING] = "ALREADY_RUNNING",
		[GUEST_CONTROLLER_FORCED_HALT] = "CONTROLLER_FORCED_HALT",
	};

	return name_of(names, ARRAY_SIZE(names), error);
}

const char *status_name(unsigned int status)
{
	static const char *const names[] = {
		[STATUS_OK] = "OK",
		[STATUS_INTERNAL] = "INTERNAL",
		[STATUS_NOT_SUPPORTED] = "NOT_SUPPORTED",
		[STATUS_NO_RESOURCES] = "NO_RESOURCES",
		[STATUS_INVALID_ARGS] = "INVALID_ARGS",
		[STATUS_ALREADY_BOUND] = "ALREADY_BOUND",
		[STATUS_CONNECTION_REFUSED] = "CONNECTION_REFUSED",
		[STATUS_BAD_STATE] = "BAD_STATE",
		[STATUS_PEER_CLOSED] = "PEER_CLOSED",
		[STATUS_TIMED_OUT] = "TIMED_OUT",
		[STATUS_NOT_FOUND] = "NOT_FOUND",
		[STATUS_ACCESS_DENIED] = "ACCESS_DENIED",
	};

	return name_of(names, ARRAY_SIZE(names), status);
}

const char *manager_error_name(unsigned int error)
{
	static const char *const names[] = {
		[MANAGER_BAD_CONFIG] = "BAD_CONFIG",
		[MANAGER_ALREADY_RUNNING] = "ALREADY_RUNNING",
		[MANAGER_NOT_RUNNING] = "NOT_RUNNING",
		[MANAGER_START_FAILURE] = "START_FAILURE",
		[MANAGER_NO_STORAGE] = "NO_STORAGE",
	};

	return name_of(names, ARRAY_SIZE(names), error);
}
