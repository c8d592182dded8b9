/* SPDX-License-Identifier: Apache-2.0 */
/* fuchsia.virtualization's GuestError, by its numbers (conformance.md), and the other numbered
 * results. */
#ifndef CORE_GUEST_ERROR_H
#define CORE_GUEST_ERROR_H

enum guest_error {
	GUEST_OK = 0,
	GUEST_INTERNAL_ERROR = 1,
	GUEST_DEVICE_NOT_PRESENT = 2,
	GUEST_BAD_CONFIG = 3,
	GUEST_INITIALIZATION_FAILURE = 4,
	GUEST_DEVICE_INITIALIZATION_FAILURE = 5,
	GUEST_DEVICE_START_FAILURE = 6,
	GUEST_DEVICE_MEMORY_OVERLAP = 7,
	GUEST_FAILED_SERVICE_CONNECT = 8,
	GUEST_DUPLICATE_PUBLIC_SERVICES = 9,
	GUEST_KERNEL_LOAD_FAILURE = 10,
	GUEST_VCPU_START_FAILURE = 11,
	GUEST_VCPU_RUNTIME_FAILURE = 12,
	GUEST_NOT_CREATED = 13,
	GUEST_ALREADY_RUNNING = 14,
	GUEST_CONTROLLER_FORCED_HALT = 15,
};

/* Status codes of the wire protocol, domain 2; also epitaphs. */
enum status {
	STATUS_OK = 0,
	STATUS_INTERNAL = 1,
	STATUS_NOT_SUPPORTED = 2,
	STATUS_NO_RESOURCES = 3,
	STATUS_INVALID_ARGS = 4,
	STATUS_ALREADY_BOUND = 5,
	STATUS_CONNECTION_REFUSED = 6,
	STATUS_BAD_STATE = 7,
	STATUS_PEER_CLOSED = 8,
	STATUS_TIMED_OUT = 9,
	STATUS_NOT_FOUND = 10,
	STATUS_ACCESS_DENIED = 11,
};

/* ManagerError, domain 3. */
enum manager_error {
	MANAGER_BAD_CONFIG = 1,
	MANAGER_ALREADY_RUNNING = 2,
	MANAGER_NOT_RUNNING = 3,
	MANAGER_START_FAILURE = 4,
	MANAGER_NO_STORAGE = 5,
};

/* GuestInfo's guest_status. */
enum guest_status {
	GUEST_STATUS_NOT_STARTED = 1,
	GUEST_STATUS_STARTING = 2,
	GUEST_STATUS_RUNNING = 3,
	GUEST_STATUS_STOPPING = 4,
	GUEST_STATUS_STOPPED = 5,
	GUEST_STATUS_VMM_UNEXPECTED_TERMINATION = 6,
};

/* The specification's own name ("BAD_CONFIG"); "UNKNOWN" for a number that has none. */
const char *guest_error_name(unsigned int error);
const char *status_name(unsigned int status);
const char *manager_error_name(unsigned int error);

#endif
