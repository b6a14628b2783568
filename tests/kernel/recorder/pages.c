/*
 * One token a page: what a page-table entry leads to, as /proc/PID/pagemap, /proc/kpageflags and /proc/kpagecount show it. Frame
 * numbers never appear; a page that was met before in the same snapshot is written with the place where it was met first.
 */
#define _GNU_SOURCE
#include "recorder.h"
#include "scan.h"
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int kpageflags, kpagecount;

/* ---- bits of pagemap entries ---- */
#define PRESENT (1UL << 63)
#define SWAPPED (1UL << 62)
#define OF_FILE (1UL << 61)
#define GUARD (1UL << 58)
#define UFFD_WP (1UL << 57)
#define EXCLUSIVE (1UL << 56)
#define FRAME ((1UL << 55) - 1)
/* a swapped entry's frame field: type in 5 bits, offset above */
#define TYPE_MARKER 31
#define TYPE_FIRST_SPECIAL 24

/* ---- bits of /proc/kpageflags ---- */
enum { DIRTY = 4, ANON = 12, SWAPCACHE = 13, SWAPBACKED = 14, HEAD = 15, TAIL = 16, HUGE = 17, UNEVICTABLE = 18, KSM = 21, THP = 22, ZERO_PAGE = 24, MLOCKED = 33, ANON_EXCLUSIVE = 34 };
static bool has(u64 flags, int bit) { return flags >> bit & 1; }

/* ---- frames of this snapshot: open addressing, emptied by a new generation ---- */
#define SLOT_BITS 18
static struct frame {
  u64 key, flags, count, first_address;
  int generation;
  short first_process; /* -1: not met yet */
} frames[1 << SLOT_BITS];
static int generation, filled;

void frames_start(void) {
  generation++;
  filled = 0;
}

static struct frame *slot(u64 key) {
  u64 i = key * 0x9e3779b97f4a7c15UL >> (64 - SLOT_BITS);
  while (frames[i].generation == generation && frames[i].key != key) i = (i + 1) & ((1 << SLOT_BITS) - 1);
  return &frames[i];
}

static struct frame *claim(struct frame *f, u64 key) {
  if (++filled > 3 << (SLOT_BITS - 2)) give_up(EXIT_INPUT, "a list maps more than %d different pages", 3 << (SLOT_BITS - 2));
  *f = (struct frame){.key = key, .generation = generation, .first_process = -1};
  return f;
}

/* The frame of entries[0]; frames of neighbours that follow in memory too are fetched with it. */
static struct frame *frame_of(const u64 *entries, u64 left) {
  enum { MOST = 64 };
  u64 pfn = entries[0] & FRAME, flags[MOST] = {0}, counts[MOST] = {0}, n = 1;
  struct frame *f = slot(pfn);
  if (f->generation == generation) return f;
  while (n < left && n < MOST && (entries[n] & PRESENT) && (entries[n] & FRAME) == pfn + n) n++;
  if (pread(kpageflags, flags, n * 8, pfn * 8) < 8 || pread(kpagecount, counts, n * 8, pfn * 8) < 8) give_up(EXIT_BROKEN, "cannot read the flags of page %lu", pfn);
  for (u64 i = 0; i < n; i++) {
    struct frame *g = slot(pfn + i);
    if (g->generation == generation) continue;
    claim(g, pfn + i);
    g->flags = flags[i];
    g->count = counts[i];
  }
  return slot(pfn);
}

struct page {
  char token[48];
  int length;
  bool known; /* met before, at first_process, first_address */
  int first_process;
  u64 first_address;
  long index, folio_pages; /* place in its folio, -1 where it is not part of a larger one */
};

static void put(struct page *p, char c) { p->token[p->length++] = c; }

static void put_number(struct page *p, char c, u64 number) {
  char digits[24];
  int n = 0;
  put(p, c);
  do digits[n++] = '0' + number % 10;
  while (number /= 10);
  while (n) put(p, digits[--n]);
}

static void meet(struct page *p, struct frame *f, int process, u64 address) {
  p->known = f->first_process >= 0;
  if (!p->known) {
    f->first_process = process;
    f->first_address = address;
  }
  p->first_process = f->first_process;
  p->first_address = f->first_address;
}

/* Place and order of a page of a compound folio: head and tails are neighbours within an aligned group of 512. */
static void place_in_folio(struct page *p, u64 pfn) {
  static u64 flags[512], group;
  static int read_in;
  long at = pfn & 511, head = at, end;
  if (read_in != generation || group != pfn >> 9) { /* neighbours ask one after the other */
    memset(flags, 0, sizeof flags);
    if (pread(kpageflags, flags, sizeof flags, (pfn & ~511UL) * 8) < 0) return;
    read_in = generation;
    group = pfn >> 9;
  }
  while (head > 0 && has(flags[head], TAIL)) head--;
  for (end = head + 1; end < 512 && has(flags[end], TAIL);) end++;
  p->folio_pages = end - head;
  p->index = at - head;
  int order = 0;
  while (1L << order < p->folio_pages) order++;
  put_number(p, 'o', order);
}

static void describe_present(struct page *p, const u64 *entries, u64 left, int process, u64 address, bool on_disk, bool gigantic) {
  u64 entry = entries[0];
  struct frame *f = frame_of(entries, left);
  u64 flags = f->flags;
  bool anonymous = has(flags, ANON), compound = has(flags, HEAD) || has(flags, TAIL), huge = has(flags, HUGE);
  if (has(flags, ZERO_PAGE)) {
    put(p, compound || has(flags, THP) ? 'Z' : 'z');
    if (entry & UFFD_WP) put(p, 'w');
    return;
  }
  put(p, anonymous ? 'a' : 'f');
  if (huge) put(p, 'H');
  if (compound && !huge && !on_disk) place_in_folio(p, entry & FRAME);
  if (f->count != 1) put_number(p, 'm', f->count);
  if (!(entry & EXCLUSIVE) == (f->count == 1) && !gigantic) put(p, '!');
  if (anonymous && has(flags, ANON_EXCLUSIVE)) put(p, 'X');
  if (anonymous && !has(flags, SWAPBACKED) && !huge) put(p, 'l');
  if (entry & UFFD_WP) put(p, 'w');
  if (has(flags, DIRTY) && !on_disk && !huge) put(p, 'd');
  if (has(flags, KSM)) put(p, 'K');
  if (has(flags, SWAPCACHE) && has(flags, SWAPBACKED)) put(p, 'c');
  if (has(flags, MLOCKED)) put(p, 'L');
  if (has(flags, UNEVICTABLE)) put(p, 'U');
  if (!(entry & OF_FILE) == !anonymous) put(p, '?');
  meet(p, f, process, address);
}

static void describe(struct page *p, const u64 *entries, u64 left, int process, u64 address, bool on_disk, bool gigantic) {
  u64 entry = entries[0];
  p->length = 0;
  p->known = false;
  p->index = -1;
  p->folio_pages = 1;
  if (entry & PRESENT) describe_present(p, entries, left, process, address, on_disk, gigantic);
  else if (entry & SWAPPED) {
    u64 type = entry & FRAME & 31, offset = (entry & FRAME) >> 5;
    if (entry & GUARD) put(p, 'g');
    else if (type == TYPE_MARKER) {
      if (offset & 2) put(p, 'p');
      else if (offset & 1) put(p, 'u');
      else put_number(p, 'M', offset);
    } else if (type >= TYPE_FIRST_SPECIAL) put(p, 'V');
    else {
      put(p, 'S');
      if (entry & OF_FILE) put(p, 'f');
      if (entry & UFFD_WP) put(p, 'w');
      u64 key = SWAPPED | (entry & FRAME);
      struct frame *f = slot(key);
      meet(p, f->generation == generation ? f : claim(f, key), process, address);
    }
  } else {
    put(p, '.');
    if (entry & UFFD_WP) put(p, 'u');
  }
}

/* ---- runs ---- */
struct run {
  struct page first, last;
  u64 pages;
};

static void finish_run(struct text *t, struct run *r, bool *any) {
  if (!r->pages) return;
  if (*any) text_char(t, ',');
  *any = true;
  if (r->pages > 1) {
    text_unsigned(t, r->pages);
    text_char(t, '*');
  }
  text_bytes(t, r->first.token, r->first.length);
  if (r->first.known) {
    text_char(t, '=');
    text_unsigned(t, r->first.first_process);
    text_char(t, ':');
    text_hex(t, r->first.first_address);
  }
  if (r->first.index > 0) {
    text_char(t, 'i');
    text_unsigned(t, r->first.index);
  }
  r->pages = 0;
}

static bool goes_on(const struct run *r, const struct page *p) {
  const struct page *l = &r->last;
  if (!r->pages || l->length != p->length || memcmp(l->token, p->token, p->length) || l->known != p->known) return false;
  if (p->known && (p->first_process != l->first_process || p->first_address != l->first_address + PAGE)) return false;
  return p->index < 0 || p->index == (l->index + 1) % p->folio_pages;
}

static void add_pages(struct text *t, struct run *r, const struct page *p, u64 pages, bool *any) {
  if (!goes_on(r, p)) {
    finish_run(t, r, any);
    r->first = *p;
  }
  r->last = *p;
  r->pages += pages;
}

static const struct page nothing = {.token = ".", .length = 1, .index = -1, .folio_pages = 1};

void page_tokens(struct text *t, int process, u64 start, u64 end, bool on_disk, bool gigantic) {
  enum { MOST_REGIONS = 4096 };
  static struct page_region regions[MOST_REGIONS];
  static u64 *entries, room;
  struct tracee *tracee = &tracees[process];
  struct run run = {.pages = 0};
  bool any = false;
  u64 at = start;
  int n = 1;
  regions[0] = (struct page_region){.start = start, .end = end};
  /* Of long mappings only the pages that are there are looked at. */
  if ((end - start) / PAGE > 4096) {
    struct pm_scan_arg scan = {.size = sizeof scan, .start = start, .end = end, .vec = (u64)regions, .vec_len = MOST_REGIONS, .category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED, .return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED};
    n = ioctl(tracee->pagemap, PAGEMAP_SCAN, &scan);
  }
  for (int k = 0; k < n; k++) {
    u64 pages = (regions[k].end - regions[k].start) / PAGE;
    if (regions[k].start > at) add_pages(t, &run, &nothing, (regions[k].start - at) / PAGE, &any);
    if (pages > room) {
      room = pages * 2;
      entries = realloc(entries, room * sizeof *entries);
      if (!entries) abort();
    }
    memset(entries, 0, pages * sizeof *entries);
    if (pread(tracee->pagemap, entries, pages * sizeof *entries, regions[k].start / PAGE * 8) < 0) give_up(EXIT_BROKEN, "cannot read pagemap");
    for (u64 i = 0; i < pages; i++) {
      struct page p;
      if (!entries[i]) {
        u64 empty = 1;
        while (i + empty < pages && !entries[i + empty]) empty++;
        add_pages(t, &run, &nothing, empty, &any);
        i += empty - 1;
        continue;
      }
      describe(&p, entries + i, pages - i, process, regions[k].start + i * PAGE, on_disk, gigantic);
      add_pages(t, &run, &p, 1, &any);
    }
    at = regions[k].end;
  }
  if (at < end) add_pages(t, &run, &nothing, (end - at) / PAGE, &any);
  finish_run(t, &run, &any);
  if (!any) text_char(t, '-');
}
