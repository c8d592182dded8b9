/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's end of the vsock tests, a static program of the initramfs; vsock_guest.py is the
 * other end. Prints one line for what it saw, status 0 if it went to its end.
 *
 *   vsock_peer [-q] connect CID PORT BYTES   sends BYTES, half-closes, then reads to the end
 *   vsock_peer [-q] listen PORT BYTES        reads to the end, then sends BYTES to the one who came
 *   vsock_peer [-q] hold CID PORT            connects, waits for whatever ends the connection
 *
 * -q: SEQPACKET. What is sent is a pattern that has no period below PATTERN_BYTES, in pieces of
 * changing lengths; the receiver says how many bytes came, in how many pieces, and their CRC. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define PATTERN_BYTES 65521u /* a prime: no multiple of a page or packet */
#define PIECE_MOST    65536u

/* The lengths of the pieces, in turn. */
static const size_t pieces[] = {65536, 1, 4096, 16384, 100, 32768};

static uint8_t pattern[PATTERN_BYTES + PIECE_MOST];
static uint8_t buffer[PIECE_MOST];

static int fail(const char *what)
{
	printf("%s: %s\n", what, strerrorname_np(errno));
	return 1;
}

static void pattern_fill(void)
{
	uint32_t state = 1;
	for (size_t i = 0; i < PATTERN_BYTES; i++) {
		state = state * 1664525u + 1013904223u;
		pattern[i] = (uint8_t)(state >> 24);
	}
	for (size_t i = PATTERN_BYTES; i < sizeof(pattern); i++)
		pattern[i] = pattern[i - PATTERN_BYTES];
}

/* The CRC of zlib, bit by bit: user mode is fast everywhere. */
static uint32_t crc32_add(uint32_t crc, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return crc;
}

static int send_all(int fd, uint64_t bytes)
{
	uint64_t at = 0;
	for (size_t turn = 0; at < bytes; turn++) {
		size_t len = pieces[turn % (sizeof(pieces) / sizeof(*pieces))];
		if (len > bytes - at)
			len = (size_t)(bytes - at);
		for (size_t sent = 0; sent < len;) {
			ssize_t n = send(
				fd, pattern + at % PATTERN_BYTES + sent, len - sent, MSG_NOSIGNAL);
			if (n < 0)
				return fail("send");
			sent += (size_t)n;
		}
		at += len;
	}
	return 0;
}

static int receive_all(int fd)
{
	uint64_t bytes = 0, count = 0;
	uint32_t crc = UINT32_MAX;
	ssize_t n;
	while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0) {
		crc = crc32_add(crc, buffer, (size_t)n);
		bytes += (uint64_t)n;
		count++;
	}
	if (n < 0)
		return fail("recv");
	printf("received %llu bytes in %llu pieces crc %08x\n", (unsigned long long)bytes,
		(unsigned long long)count, ~crc);
	return 0;
}

static int run_connect(int type, uint32_t cid, uint32_t port, uint64_t bytes, bool hold)
{
	struct sockaddr_vm peer = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
	int fd = socket(AF_VSOCK, type, 0);
	if (fd < 0)
		return fail("socket");
	if (connect(fd, (struct sockaddr *)&peer, sizeof(peer)))
		return fail("connect");
	if (hold) {
		printf("connected\n");
		return receive_all(fd);
	}
	if (send_all(fd, bytes))
		return 1;
	if (shutdown(fd, SHUT_WR))
		return fail("shutdown");
	if (send(fd, "x", 1, MSG_NOSIGNAL) >= 0 || errno != EPIPE)
		return fail("send after shutdown");
	return receive_all(fd);
}

static int run_listen(int type, uint32_t port, uint64_t bytes)
{
	struct sockaddr_vm own = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
	int listener = socket(AF_VSOCK, type, 0);
	if (listener < 0)
		return fail("socket");
	if (bind(listener, (struct sockaddr *)&own, sizeof(own)) || listen(listener, 1))
		return fail("listen");
	printf("listening\n");
	int fd = accept(listener, NULL, NULL);
	if (fd < 0)
		return fail("accept");
	if (receive_all(fd) || send_all(fd, bytes))
		return 1;
	if (shutdown(fd, SHUT_WR))
		return fail("shutdown");
	/* The other end has closed its sending half already: the end comes at once. */
	if (recv(fd, buffer, 1, 0) != 0)
		return fail("recv after the end");
	close(fd);
	return 0;
}

static uint32_t number(const char *text)
{
	return (uint32_t)strtoul(text, NULL, 0);
}

int main(int argc, char **argv)
{
	int type = SOCK_STREAM;
	setvbuf(stdout, NULL, _IOLBF, 0);
	pattern_fill();
	if (argc > 1 && !strcmp(argv[1], "-q")) {
		type = SOCK_SEQPACKET;
		argv++;
		argc--;
	}
	if (argc == 5 && !strcmp(argv[1], "connect"))
		return run_connect(type, number(argv[2]), number(argv[3]), number(argv[4]), false);
	if (argc == 4 && !strcmp(argv[1], "listen"))
		return run_listen(type, number(argv[2]), number(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "hold"))
		return run_connect(type, number(argv[2]), number(argv[3]), 0, true);
	fprintf(stderr, "usage: vsock_peer [-q] connect CID PORT BYTES | listen PORT BYTES | "
			"hold CID PORT\n");
	return 2;
}
