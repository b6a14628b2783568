/* Output: a growing buffer and the few forms in which traces write numbers. */
#include "recorder.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct text out;

static void make_room(struct text *t, size_t more) {
  if (t->room - t->length >= more) return;
  t->room = (t->room + more) * 2;
  t->bytes = realloc(t->bytes, t->room);
  if (!t->bytes) abort();
}

void text_bytes(struct text *t, const char *bytes, size_t length) {
  make_room(t, length);
  memcpy(t->bytes + t->length, bytes, length);
  t->length += length;
}

void text_string(struct text *t, const char *string) { text_bytes(t, string, strlen(string)); }

void text_char(struct text *t, char c) {
  make_room(t, 1);
  t->bytes[t->length++] = c;
}

static void digits(struct text *t, u64 number, unsigned base) {
  char d[24];
  int n = 24;
  do d[--n] = "0123456789abcdef"[number % base];
  while (number /= base);
  text_bytes(t, d + n, 24 - n);
}

void text_unsigned(struct text *t, u64 number) { digits(t, number, 10); }
void text_hex(struct text *t, u64 number) { digits(t, number, 16); }

void text_decimal(struct text *t, s64 number) {
  if (number < 0) text_char(t, '-');
  digits(t, number < 0 ? -(u64)number : (u64)number, 10);
}

void text_format(struct text *t, const char *format, ...) {
  va_list arguments;
  make_room(t, 4096);
  va_start(arguments, format);
  int n = vsnprintf(t->bytes + t->length, 4096, format, arguments);
  va_end(arguments);
  if (n > 0) t->length += n < 4095 ? n : 4095;
}

void text_runs(struct text *t, const unsigned char *bytes, u64 length) {
  text_char(t, '[');
  for (u64 i = 0, j; i < length; i = j) {
    for (j = i + 1; j < length && bytes[j] == bytes[i];) j++;
    if (i) text_char(t, ',');
    if (j - i > 1) {
      text_char(t, '[');
      text_unsigned(t, j - i);
      text_char(t, ',');
    }
    text_unsigned(t, bytes[i]);
    if (j - i > 1) text_char(t, ']');
  }
  text_char(t, ']');
}

void text_flush(struct text *t, int fd) {
  size_t done = 0;
  while (done < t->length) {
    ssize_t n = write(fd, t->bytes + done, t->length - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) exit(EXIT_BROKEN); /* the reader has gone */
    done += n;
  }
  t->length = 0;
}

void give_up(int code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(code);
}
