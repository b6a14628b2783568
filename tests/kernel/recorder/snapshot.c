/*
 * The state of all processes after an operation, as the difference to the snapshot before: one line a VMA (numbers of
 * /proc/PID/smaps, flags, page tokens) and the memory fields of /proc/PID/status, both without what the executor itself costs.
 */
#define _GNU_SOURCE
#include "recorder.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool without_referenced;

/* Numbers of smaps in the order in which lines show them; the kernel prints them in another one. */
enum number { RSS, PSS, SHARED_CLEAN, SHARED_DIRTY, PRIVATE_CLEAN, PRIVATE_DIRTY, REFERENCED, ANONYMOUS, KSM_PAGES, LAZY_FREE, ANON_HUGE, SHMEM_PMD, FILE_PMD, SHARED_HUGETLB, PRIVATE_HUGETLB, SWAP, SWAP_PSS, LOCKED, THP_ELIGIBLE, KERNEL_PAGE, MMU_PAGE, NUMBERS };
static const char *const short_names[NUMBERS] = {"rss", "pss", "sc", "sd", "pc", "pd", "ref", "an", "ksm", "lf", "ah", "sp", "fp", "sh", "ph", "sw", "sps", "lk", "te", "kp", "mp"};
/* The order of the kernel's lines; NUMBERS stands for what is not recorded. */
static const struct {
  const char *key;
  enum number number;
} kernel_order[] = {
  {"Size", NUMBERS}, {"KernelPageSize", KERNEL_PAGE}, {"MMUPageSize", MMU_PAGE}, {"Rss", RSS}, {"Pss", PSS}, {"Pss_Dirty", NUMBERS}, {"Shared_Clean", SHARED_CLEAN}, {"Shared_Dirty", SHARED_DIRTY},
  {"Private_Clean", PRIVATE_CLEAN}, {"Private_Dirty", PRIVATE_DIRTY}, {"Referenced", REFERENCED}, {"Anonymous", ANONYMOUS}, {"KSM", KSM_PAGES},
  {"LazyFree", LAZY_FREE}, {"AnonHugePages", ANON_HUGE}, {"ShmemPmdMapped", SHMEM_PMD}, {"FilePmdMapped", FILE_PMD}, {"Shared_Hugetlb", SHARED_HUGETLB},
  {"Private_Hugetlb", PRIVATE_HUGETLB}, {"Swap", SWAP}, {"SwapPss", SWAP_PSS}, {"Locked", LOCKED}, {"THPeligible", THP_ELIGIBLE},
  {"ProtectionKey", NUMBERS},
};
enum { KEYS = sizeof kernel_order / sizeof *kernel_order };

struct mapping {
  u64 start, end, offset, inode;
  unsigned major, minor;
  char permissions[8], flags[128];
  const char *path;
  s64 numbers[NUMBERS + 1];
};

/* ---- reading ---- */
/* All of an open /proc file, from its start. Holds until the next call. */
static char *whole(int fd, ssize_t *length) {
  static char *bytes;
  static size_t room;
  size_t n = 0;
  lseek(fd, 0, SEEK_SET);
  for (;;) {
    if (room - n < 8192) {
      room = room ? room * 2 : 1 << 16;
      bytes = realloc(bytes, room);
      if (!bytes) abort();
    }
    ssize_t got = read(fd, bytes + n, room - n - 1);
    if (got <= 0) break;
    n += got;
  }
  bytes[n] = 0;
  *length = n;
  return bytes;
}

static u64 hex(char **at) {
  u64 x = 0;
  for (;; (*at)++) {
    char c = **at;
    if (c >= '0' && c <= '9') x = x << 4 | (c - '0');
    else if (c >= 'a' && c <= 'f') x = x << 4 | (c - 'a' + 10);
    else return x;
  }
}

static s64 decimal(const char *at) {
  s64 x = 0;
  while (*at == ' ' || *at == '\t') at++;
  for (; *at >= '0' && *at <= '9'; at++) x = x * 10 + (*at - '0');
  return x;
}

/* `start-end perms offset major:minor inode   path` */
static void parse_heading(char *line, struct mapping *m) {
  memset(m, 0, sizeof *m);
  m->start = hex(&line);
  line++;
  m->end = hex(&line);
  line++;
  memcpy(m->permissions, line, 4);
  line += 5;
  m->offset = hex(&line);
  line++;
  m->major = hex(&line);
  line++;
  m->minor = hex(&line);
  line++;
  m->inode = strtoul(line, &line, 10);
  while (*line == ' ') line++;
  m->path = line;
}

static void parse_flags(const char *at, struct mapping *m) {
  size_t n = 0;
  for (; *at; at++)
    if (*at != ' ' && n < sizeof m->flags - 1) m->flags[n++] = *at;
  m->flags[n] = 0;
}

static bool flag(const struct mapping *m, const char *two) {
  for (const char *f = m->flags; f[0] && f[1]; f += 2)
    if (f[0] == two[0] && f[1] == two[1]) return true;
  return false;
}

/* ---- one VMA's line ---- */
static void print_number(struct text *t, const char *name, s64 number, bool *any) {
  if (!number) return;
  if (*any) text_char(t, ',');
  *any = true;
  text_string(t, name);
  text_char(t, '=');
  text_decimal(t, number);
}

static void print_mapping(struct text *t, const struct mapping *m, int process) {
  bool on_disk, any = false, gigantic = m->numbers[KERNEL_PAGE] >= 1 << 20;
  const char *name = file_name(m->major, m->minor, m->inode, m->path, &on_disk);
  text_hex(t, m->start);
  text_char(t, '-');
  text_hex(t, m->end);
  text_char(t, ' ');
  text_string(t, m->permissions);
  text_char(t, ' ');
  text_hex(t, m->offset);
  text_char(t, ' ');
  text_string(t, name);
  text_char(t, ' ');
  for (int i = 0; i < NUMBERS; i++) {
    s64 x = m->numbers[i];
    if (on_disk && i >= SHARED_CLEAN && i <= REFERENCED) continue; /* writeback decides these */
    if (without_referenced && i == REFERENCED) continue;
    if ((i == KERNEL_PAGE || i == MMU_PAGE) && x == 4) continue;
    if (gigantic && i == SHARED_HUGETLB) continue;
    if (gigantic && i == PRIVATE_HUGETLB) x += m->numbers[SHARED_HUGETLB];
    print_number(t, short_names[i], x, &any);
  }
  if (on_disk) {
    print_number(t, "s", m->numbers[SHARED_CLEAN] + m->numbers[SHARED_DIRTY], &any);
    print_number(t, "p", m->numbers[PRIVATE_CLEAN] + m->numbers[PRIVATE_DIRTY], &any);
  }
  if (!any) text_char(t, '-');
  text_char(t, ' ');
  text_string(t, m->flags[0] ? m->flags : "-");
  text_char(t, ' ');
  page_tokens(t, process, m->start, m->end, on_disk, gigantic);
}

/* ---- a process ---- */
/* What the harness mapping adds to the process's totals. */
struct harness {
  s64 kilobytes, rss, anonymous, swap;
  bool locked;
};

struct reading {
  struct mapping_line *lines;
  int count, room;
  struct harness harness;
};

static void take_mapping(struct reading *r, const struct mapping *m, int process) {
  static struct text line;
  if (m->start >> 63) return; /* vsyscall */
  if (m->start >= HARNESS_START && m->end <= HARNESS_END) {
    r->harness.kilobytes += (m->end - m->start) / 1024;
    r->harness.rss += m->numbers[RSS];
    r->harness.anonymous += m->numbers[ANONYMOUS];
    r->harness.swap += m->numbers[SWAP];
    if (flag(m, "lo")) r->harness.locked = true;
    return;
  }
  line.length = 0;
  print_mapping(&line, m, process);
  text_char(&line, 0);
  if (r->count == r->room) {
    r->room = r->room ? r->room * 2 : 32;
    r->lines = realloc(r->lines, r->room * sizeof *r->lines);
  }
  char *copy = malloc(line.length);
  if (!r->lines || !copy) abort();
  memcpy(copy, line.bytes, line.length);
  r->lines[r->count++] = (struct mapping_line){m->start, m->end, copy};
}

static void read_mappings(struct reading *r, int process) {
  ssize_t length;
  struct mapping m;
  int expected = 0;
  bool open = false;
  for (char *line = whole(tracees[process].smaps, &length), *next; *line; line = next) {
    char *end = strchr(line, '\n');
    next = end ? end + 1 : line + strlen(line);
    if (end) *end = 0;
    if (*line >= 'a' || isdigit((unsigned char)*line)) {
      if (open) take_mapping(r, &m, process);
      parse_heading(line, &m);
      open = true;
      continue;
    }
    char *colon = strchr(line, ':');
    if (!colon || !open) continue;
    *colon = 0;
    if (!strcmp(line, "VmFlags")) {
      parse_flags(colon + 1, &m);
      continue;
    }
    for (int i = 0; i < KEYS; i++) {
      int k = (expected + i) % KEYS;
      if (strcmp(line, kernel_order[k].key)) continue;
      m.numbers[kernel_order[k].number] = decimal(colon + 1);
      expected = k + 1;
      break;
    }
  }
  if (open) take_mapping(r, &m, process);
}

static const char *const status_names[STATUS_FIELDS] = {"VmSize", "VmLck", "VmPin", "VmRSS", "RssAnon", "RssFile", "RssShmem", "VmData", "VmStk", "VmExec", "VmPTE", "VmSwap", "HugetlbPages"};
enum { SIZE_, LCK, PIN, RSS_, RSS_ANON, RSS_FILE, RSS_SHMEM, DATA, STK, EXEC, PTE, SWAP_ };

static void read_status(struct tracee *t, const struct harness *h, s64 *values) {
  ssize_t length;
  memset(values, 0, STATUS_FIELDS * sizeof *values);
  for (char *line = whole(t->status, &length), *next; *line; line = next) {
    char *end = strchr(line, '\n');
    next = end ? end + 1 : line + strlen(line);
    if (end) *end = 0;
    char *colon = strchr(line, ':');
    if (!colon || (*line != 'V' && *line != 'R' && *line != 'H')) continue;
    *colon = 0;
    if (!strcmp(line, "VmExe") || !strcmp(line, "VmLib")) values[EXEC] += decimal(colon + 1);
    else
      for (int i = 0; i < STATUS_FIELDS; i++)
        if (!strcmp(line, status_names[i])) values[i] = decimal(colon + 1);
  }
  values[SIZE_] -= h->kilobytes;
  values[DATA] -= h->kilobytes;
  if (h->locked) values[LCK] -= h->kilobytes;
  values[RSS_] -= h->rss;
  values[RSS_ANON] -= h->anonymous;
  values[RSS_FILE] -= h->rss - h->anonymous;
  values[PTE] -= table_kilobytes_at_start;
  values[SWAP_] -= h->swap;
}

/* ---- the difference ---- */
struct difference {
  bool *first; /* nothing of this snapshot was printed yet */
  bool opened; /* this process's part has begun */
  int process;
};

static void open_part(struct difference *d, const char *key) {
  if (!d->opened) {
    if (!*d->first) text_char(&out, ',');
    text_format(&out, "\"%d\":{", d->process);
    *d->first = false;
    d->opened = true;
  } else text_char(&out, ',');
  text_string(&out, key);
}

static void print_lines(struct difference *d, const struct mapping_line *old, int old_count, const struct mapping_line *new, int new_count) {
  bool any = false;
  for (int i = 0, j = 0; i < old_count; i++) {
    while (j < new_count && new[j].start < old[i].start) j++;
    if (j < new_count && new[j].start == old[i].start && new[j].end == old[i].end) continue;
    if (any) text_char(&out, ',');
    else open_part(d, "\"-\":[");
    text_format(&out, "\"%lx-%lx\"", old[i].start, old[i].end);
    any = true;
  }
  if (any) text_char(&out, ']');
  any = false;
  for (int i = 0, j = 0; j < new_count; j++) {
    while (i < old_count && old[i].start < new[j].start) i++;
    if (i < old_count && old[i].start == new[j].start && !strcmp(old[i].text, new[j].text)) continue;
    if (any) text_char(&out, ',');
    else open_part(d, "\"+\":[");
    text_char(&out, '"');
    text_string(&out, new[j].text);
    text_char(&out, '"');
    any = true;
  }
  if (any) text_char(&out, ']');
}

static void print_status(struct difference *d, struct tracee *t, const s64 *values) {
  bool any = false;
  for (int i = 0; i < STATUS_FIELDS; i++) {
    if (t->status_known && t->status_shown[i] == values[i]) continue;
    if (any) text_char(&out, ',');
    else open_part(d, "\"st\":{");
    text_format(&out, "\"%s\":", status_names[i]);
    text_decimal(&out, values[i]);
    t->status_shown[i] = values[i];
    any = true;
  }
  t->status_known = true;
  if (any) text_char(&out, '}');
}

static void print_process(int process, bool *first) {
  struct tracee *t = &tracees[process];
  struct difference d = {first, false, process};
  struct reading r = {0};
  s64 values[STATUS_FIELDS];
  read_mappings(&r, process);
  read_status(t, &r.harness, values);
  print_lines(&d, t->lines, t->line_count, r.lines, r.count);
  print_status(&d, t, values);
  if (d.opened) text_char(&out, '}');
  for (int i = 0; i < t->line_count; i++) free(t->lines[i].text);
  free(t->lines);
  t->lines = r.lines;
  t->line_count = r.count;
}

void print_snapshot(void) {
  bool first = true;
  drain_batches();
  frames_start();
  text_string(&out, ",\"s\":{");
  for (int i = 0; i < tracee_count; i++) {
    if (tracees[i].alive) print_process(i, &first);
    else if (!tracees[i].announced_gone) {
      text_format(&out, "%s\"%d\":null", first ? "" : ",", i);
      tracees[i].announced_gone = true;
      first = false;
    }
  }
  print_files(&first);
  huge_print(&first);
  text_char(&out, '}');
}
