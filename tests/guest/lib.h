/* SPDX-License-Identifier: Apache-2.0 */
/* The little of a C library that the guest needs; nothing here allocates. */
#ifndef GUEST_LIB_H
#define GUEST_LIB_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define KIB               1024UL
#define MIB               (1024UL * 1024)
#define GIB               (1024UL * 1024 * 1024)
#define PAGE_SIZE         4096UL

void *memcpy(void *to, const void *from, size_t len);
void *memmove(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t len);

/* Copies at most size - 1 bytes and ends the copy with NUL; returns its length. */
size_t text_copy(char *to, size_t size, const char *from);

/*
 * Reads the whole of `text` as a number, decimal or with 0x hexadecimal. False when it is none, or
 * does not fit 64 bits; *value is then untouched.
 */
bool number_parse(const char *text, uint64_t *value);

/* Like vsnprintf with %s %c %d %u %x %p %%, l and z modifiers, zero padding and width. */
size_t format_text(char *to, size_t size, const char *format, va_list args);

/* Writes to the serial console; lines longer than 255 bytes are cut. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
