/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock connections and the console's writes. Few probes each: an attached probe is a trap. */
#ifndef BPF_HIST_VSOCK_H
#define BPF_HIST_VSOCK_H

#include "hist_maps.bpf.h"

#define VSOCK_TX        1
#define VSOCK_CONNECTED 2
#define VSOCK_CLOSED    5

/* --- connections --- */

static __always_inline int vsock_open_begin(const void *guest, u64 conn, bool by_guest)
{
	struct start s = {};

	if (!guest_key(&s.key, TRACE_VSOCK_OPEN, guest))
		return 0;
	if (by_guest)
		__builtin_memcpy(s.key.what, "accept", sizeof("accept"));
	else
		__builtin_memcpy(s.key.what, "connect", sizeof("connect"));
	hist_count(&s.key);
	s.time_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&vsock_opens, &conn, &s, BPF_ANY))
		count_lost();
	return 0;
}

SEC("usdt")
int BPF_USDT(count_vsock_connect, void *guest, u32 host_port, u32 guest_port, u64 conn)
{
	return vsock_open_begin(guest, conn, false);
}

SEC("usdt")
int BPF_USDT(count_vsock_accept, void *guest, u32 host_port, u32 guest_port, u64 conn)
{
	return vsock_open_begin(guest, conn, true);
}

SEC("usdt")
int BPF_USDT(end_vsock_open, void *guest, u32 host_port, u32 guest_port, u32 from, u32 to, u64 conn)
{
	struct start *s;

	if (to == VSOCK_CLOSED) {
		bpf_map_delete_elem(&vsock_asked, &conn);
		bpf_map_delete_elem(&vsock_stalls, &conn);
	}
	s = bpf_map_lookup_elem(&vsock_opens, &conn);
	if (!s)
		return 0;
	if (to == VSOCK_CONNECTED)
		hist_end(&s->key, bpf_ktime_get_ns() - s->time_ns);
	bpf_map_delete_elem(&vsock_opens, &conn);
	return 0;
}

SEC("usdt")
int BPF_USDT(count_vsock_stall, void *guest, u32 host_port, u32 guest_port, u64 conn, u32 stalled)
{
	struct trace_key key = {};

	if (!guest_key(&key, TRACE_VSOCK_STALL, guest))
		return 0;
	if (!stalled) {
		mark_end(&vsock_stalls, conn, &key);
		return 0;
	}
	hist_count(&key);
	mark(&vsock_stalls, conn);
	return 0;
}

/* --- data --- */

SEC("usdt")
int BPF_USDT(mark_vsock_kick, void *guest, void *device, u32 queue, u64 vq)
{
	char name[] = "virtio-vsock", is[sizeof(name)] = {};

	if (queue != VSOCK_TX)
		return 0;
	read_string(is, sizeof(is), device);
	for (u32 i = 0; i < sizeof(name); i++)
		if (is[i] != name[i])
			return 0;
	mark(&vsock_kicks, vq);
	return 0;
}

/* One look at each map; the key is changed from kind to kind. */
SEC("usdt")
int BPF_USDT(count_vsock_data, void *guest, u32 host_port, u32 guest_port, u64 conn, u32 to_guest,
	int res, u64 vq)
{
	struct trace_key key = {};

	if (res <= 0 || !guest_key(&key, TRACE_VSOCK_REPLY, guest))
		return 0;
	if (to_guest) {
		hist_count(&key);
		mark(&vsock_asked, conn);
	} else {
		mark_end(&vsock_asked, conn, &key);
		if (bpf_map_lookup_elem(&vsock_kicks, &vq)) {
			key.kind = TRACE_VSOCK_SEND;
			hist_count(&key);
			mark_end(&vsock_kicks, vq, &key);
		}
	}
	key.kind = TRACE_VSOCK_BYTES;
	if (to_guest)
		__builtin_memcpy(key.what, "to guest", sizeof("to guest"));
	else
		__builtin_memcpy(key.what, "from guest", sizeof("from guest"));
	hist_value(&key, (u32)res);
	return 0;
}

/* --- the console --- */

SEC("usdt")
int BPF_USDT(count_console_write, void *guest, u64 console)
{
	struct trace_key key = {};

	if (!guest_key(&key, TRACE_CONSOLE, guest))
		return 0;
	hist_count(&key);
	mark(&writes, console);
	return 0;
}

SEC("usdt")
int BPF_USDT(end_console_write, void *guest, u64 console, int res)
{
	struct trace_key key = {};

	if (!guest_key(&key, TRACE_CONSOLE, guest))
		return 0;
	mark_end(&writes, console, &key);
	key.kind = TRACE_CONSOLE_BYTES;
	if (res > 0)
		hist_value(&key, (u32)res);
	return 0;
}

#endif
