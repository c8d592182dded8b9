/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, text and number helpers, and formatted output to the serial console. */
#include "lib.h"

#include "uart.h"

void *memcpy(void *to, const void *from, size_t len)
{
	void *result = to;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len)::"memory");
	return result;
}

void *memmove(void *to, const void *from, size_t len)
{
	if ((uintptr_t)to - (uintptr_t)from >= len)
		return memcpy(to, from, len);

	uint8_t *out = to;
	const volatile uint8_t *in = from; /* volatile: or the loop becomes a call of memmove */
	while (len--)
		out[len] = in[len];
	return to;
}

void *memset(void *to, int byte, size_t len)
{
	void *result = to;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(byte) : "memory");
	return result;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *left = a, *right = b;
	for (; len; len--, left++, right++)
		if (*left != *right)
			return *left - *right;
	return 0;
}

size_t strlen(const char *text)
{
	const volatile char *end = text;
	while (*end)
		end++;
	return (size_t)((const char *)end - text);
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t len)
{
	for (; len; len--, a++, b++)
		if (*a != *b || !*a)
			return (uint8_t)*a - (uint8_t)*b;
	return 0;
}

size_t text_copy(char *to, size_t size, const char *from)
{
	size_t len = 0;
	while (len + 1 < size && from[len]) {
		to[len] = from[len];
		len++;
	}
	to[len] = 0;
	return len;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

bool number_parse(const char *text, uint64_t *value)
{
	uint64_t base = 10, sum = 0;
	if (text[0] == '0' && (text[1] | 0x20) == 'x') {
		base = 16;
		text += 2;
	}
	if (!*text)
		return false;
	for (; *text; text++) {
		uint64_t digit = (uint64_t)digit_value(*text);
		if (digit >= base || sum > (UINT64_MAX - digit) / base)
			return false;
		sum = sum * base + digit;
	}
	*value = sum;
	return true;
}

struct sink {
	char *to;
	size_t size, len;
};

static void sink_put(struct sink *sink, char c)
{
	if (sink->len + 1 < sink->size)
		sink->to[sink->len++] = c;
}

static void sink_text(struct sink *sink, const char *text, unsigned width)
{
	for (size_t len = strlen(text); len < width; len++)
		sink_put(sink, ' ');
	while (*text)
		sink_put(sink, *text++);
}

static void sink_number(struct sink *sink, uint64_t value, unsigned base, unsigned width, char pad)
{
	char digits[20];
	unsigned count = 0;
	do {
		digits[count++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	for (; width > count; width--)
		sink_put(sink, pad);
	while (count)
		sink_put(sink, digits[--count]);
}

static void sink_signed(struct sink *sink, int64_t value, unsigned width, char pad)
{
	if (value < 0)
		sink_put(sink, '-');
	sink_number(sink, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, width, pad);
}

size_t format_text(char *to, size_t size, const char *format, va_list args)
{
	struct sink sink = {.to = to, .size = size};
	for (; *format; format++) {
		if (*format != '%') {
			sink_put(&sink, *format);
			continue;
		}
		char pad = *++format == '0' ? '0' : ' ';
		unsigned width = 0;
		bool wide = false;
		for (; *format >= '0' && *format <= '9'; format++)
			width = width * 10 + (unsigned)(*format - '0');
		for (; *format == 'l' || *format == 'z'; format++)
			wide = true;
		switch (*format) {
		case 's':
			sink_text(&sink, va_arg(args, const char *), width);
			break;
		case 'c':
			sink_put(&sink, (char)va_arg(args, int));
			break;
		case 'd':
			sink_signed(&sink, wide ? va_arg(args, int64_t) : va_arg(args, int), width,
				pad);
			break;
		case 'u':
		case 'x':
			sink_number(&sink, wide ? va_arg(args, uint64_t) : va_arg(args, unsigned),
				*format == 'x' ? 16 : 10, width, pad);
			break;
		case 'p':
			sink_text(&sink, "0x", 0);
			sink_number(&sink, (uintptr_t)va_arg(args, void *), 16, 0, '0');
			break;
		default:
			sink_put(&sink, *format);
		}
		if (!*format)
			break;
	}
	if (size)
		to[sink.len] = 0;
	return sink.len;
}

void print(const char *format, ...)
{
	char line[256];
	va_list args;
	va_start(args, format);
	size_t len = format_text(line, sizeof(line), format, args);
	va_end(args);
	uart_write(line, len);
}
