/* Input: one operation a line, `{"op":NAME,"p":PROCESS,"a":[...]}`. Only what such lines hold is understood: numbers (plain or as
 * "0x..." strings), strings without escapes, lists, null. Values lie in a fixed pool that each line uses from its start. */
#include "recorder.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define POOL 16384
static struct value pool[POOL];
static int used;
static char *at;
static bool broken;

static void blank(void) {
  while (*at == ' ' || *at == '\t' || *at == '\r') at++;
}

/* At a quote: the string behind it, ended by NUL where its closing quote was. */
static char *quoted(void) {
  char *start = ++at;
  while (*at && *at != '"') at++;
  if (!*at) broken = true;
  else *at++ = 0;
  return start;
}

static struct value parse(int depth) {
  struct value v = {NOTHING};
  blank();
  if (*at == '"') {
    const char *s = quoted();
    bool negative = *s == '-';
    if (!strncmp(s + negative, "0x", 2)) {
      v.kind = NUMBER;
      v.number = strtoull(s + negative, 0, 16);
      if (negative) v.number = -v.number;
    } else {
      v.kind = STRING;
      v.string = s;
    }
  } else if (*at == '[') {
    struct value items[1024];
    v.kind = LIST;
    for (at++, blank(); *at && *at != ']' && !broken;) {
      if (v.count == 1024 || depth > 3) {
        broken = true;
        return v;
      }
      items[v.count++] = parse(depth + 1);
      blank();
      if (*at == ',') at++, blank();
      else if (*at != ']') broken = true;
    }
    if (*at) at++;
    if (used + v.count > POOL) {
      broken = true;
      return v;
    }
    v.items = pool + used;
    used += v.count;
    if (v.count) memcpy(v.items, items, v.count * sizeof *items);
  } else if (*at == '-' || isdigit((unsigned char)*at)) {
    v.kind = NUMBER;
    v.number = *at == '-' ? (u64)strtoll(at, &at, 10) : strtoull(at, &at, 10);
  } else if (!strncmp(at, "null", 4)) at += 4;
  else broken = true;
  return v;
}

bool parse_operation(char *line, struct operation *op) {
  at = line;
  used = 0;
  broken = false;
  *op = (struct operation){.arguments = {.kind = LIST}};
  blank();
  if (*at++ != '{') return false;
  for (blank(); *at && *at != '}' && !broken; blank()) {
    if (*at == ',') {
      at++;
      continue;
    }
    if (*at != '"') return false;
    const char *key = quoted();
    blank();
    if (*at++ != ':') return false;
    struct value v = parse(0);
    if (!strcmp(key, "op") && v.kind == STRING) op->name = v.string;
    else if (!strcmp(key, "p") && v.kind == NUMBER) op->process = v.number < MOST_TRACEES ? (int)v.number : MOST_TRACEES;
    else if (!strcmp(key, "a") && v.kind == LIST) op->arguments = v;
  }
  return !broken && op->name;
}

u64 number_at(const struct value *list, int i) { return i < list->count ? list->items[i].number : 0; }

const char *string_at(const struct value *list, int i) { return i < list->count && list->items[i].kind == STRING ? list->items[i].string : ""; }

const struct value *list_at(const struct value *list, int i) {
  static const struct value empty = {.kind = LIST};
  return i < list->count && list->items[i].kind == LIST ? &list->items[i] : &empty;
}
