/*
 * The running kernel's own times for gup.ts: prints "name nanoseconds" lines, a page, the best of several rounds.
 * Slow: MADV_POPULATE_READ of memory that is there, which is get_user_pages and nothing else. Fast: vmsplice() into a pipe, which is
 * get_user_pages_fast() and a slot of the pipe a page, and splice() to /dev/null to give them back. Sizes that this kernel does not give are left out.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { ROUNDS = 9, CALLS = 40, SLOTS = 256, HUGE_ROUNDS = 40 };
#define SPAN (2L << 20)
#define BASE ((char *)0x40000000)

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Writes a word to a file of /sys, which then shows it within brackets; what it said before, or NULL. */
static char *setting(const char *file, const char *word) {
  static char old[64];
  char text[256], *from, *to;
  int fd = open(file, O_RDWR);
  if (fd < 0) return NULL;
  ssize_t n = read(fd, text, sizeof text - 1);
  text[n > 0 ? n : 0] = 0;
  from = strchr(text, '[');
  to = from ? strchr(from, ']') : NULL;
  if (to) snprintf(old, sizeof old, "%.*s", (int)(to - from - 1), from + 1);
  n = to ? write(fd, word, strlen(word)) : -1;
  close(fd);
  return n > 0 ? old : NULL;
}

/* Kilobytes of the mapping at BASE that one entry maps, as smaps says. */
static long hugeKilobytes(void) {
  char line[256];
  long found = 0;
  int here = 0;
  FILE *f = fopen("/proc/self/smaps", "r");
  while (f && fgets(line, sizeof line, f)) {
    unsigned long from, to;
    if (sscanf(line, "%lx-%lx", &from, &to) == 2) here = from <= (unsigned long)BASE && (unsigned long)BASE < to;
    if (here) sscanf(line, "AnonHugePages: %ld", &found);
  }
  if (f) fclose(f);
  return found;
}

static void measure(const char *name) {
  double slow = 1e18, fast = 1e18;
  int pipes[2], null = open("/dev/null", O_WRONLY);
  long pages = SPAN / 4096;
  if (pipe(pipes) || fcntl(pipes[1], F_SETPIPE_SZ, SLOTS * 4096) < 0) return;
  for (int round = 0; round < ROUNDS; round++) {
    double t = now();
    for (int i = 0; i < CALLS; i++)
      if (madvise(BASE, SPAN, MADV_POPULATE_READ)) return;
    t = (now() - t) / CALLS / pages;
    if (t < slow) slow = t;
    t = now();
    for (int i = 0; i < CALLS; i++)
      for (long at = 0; at < pages; at += SLOTS) {
        struct iovec v = {BASE + at * 4096, SLOTS * 4096};
        ssize_t in = vmsplice(pipes[1], &v, 1, 0);
        while (in > 0) {
          ssize_t out = splice(pipes[0], NULL, null, NULL, in, 0);
          if (out <= 0) return;
          in -= out;
        }
      }
    t = (now() - t) / CALLS / pages;
    if (t < fast) fast = t;
  }
  printf("slow, %s %.2f\nfast, %s %.2f\n", name, slow, name, fast);
}

#define SYS "/sys/kernel/mm/transparent_hugepage/"

static void sized(const char *name, const char *file, int advice) {
  char word[64] = "", pmd[64] = "";
  char *old = file ? setting(file, "madvise") : NULL;
  if (file && !old) return;
  if (old) strcpy(word, old);
  /* For the smaller size the larger one must not be had. */
  if (file && strcmp(name, "2M")) {
    old = setting(SYS "hugepages-2048kB/enabled", "never");
    if (old) strcpy(pmd, old);
  }
  if (mmap(BASE, SPAN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != BASE) exit(1);
  madvise(BASE, SPAN, advice);
  memset(BASE, 1, SPAN);
  if (strcmp(name, "2M") || hugeKilobytes() == 2048) measure(name);
  munmap(BASE, SPAN);
  if (*word) setting(file, word);
  if (*pmd) setting(SYS "hugepages-2048kB/enabled", pmd);
}

static void map(int advice) {
  if (mmap(BASE, SPAN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != BASE) exit(1);
  madvise(BASE, SPAN, advice);
}

enum { FAULT, SPLIT_ENTRY, SPLIT_PAGE, COLLAPSE, KINDS };
static double best[KINDS] = {1e18, 1e18, 1e18, 1e18};

static void keep(int kind, double since) {
  double t = now() - since;
  if (t < best[kind]) best[kind] = t;
}

/* A huge page comes by a fault; 0 when this kernel has none to give. */
static int faultHuge(void) {
  map(MADV_HUGEPAGE);
  double t = now();
  *(volatile char *)BASE = 1;
  keep(FAULT, t);
  return hugeKilobytes() == 2048;
}

/* What the fault, the splits and the collapse of a huge page take. */
static void huge(void) {
  char word[64] = "", *old = setting(SYS "enabled", "madvise");
  double t;
  if (!old) return;
  strcpy(word, old);
  int good = 1;
  for (int round = 0; round < HUGE_ROUNDS && good; round++) {
    good = faultHuge();
    t = now();
    good = good && !mprotect(BASE + 4096, 4096, PROT_READ);
    keep(SPLIT_ENTRY, t);
    good = good && hugeKilobytes() == 0 && faultHuge();
    t = now();
    good = good && !madvise(BASE + 4096, 4096, MADV_FREE);
    keep(SPLIT_PAGE, t);
    good = good && hugeKilobytes() == 0;
    map(MADV_NOHUGEPAGE);
    memset(BASE, 1, SPAN);
    madvise(BASE, SPAN, MADV_HUGEPAGE);
    t = now();
    good = good && !madvise(BASE, SPAN, MADV_COLLAPSE);
    keep(COLLAPSE, t);
    good = good && hugeKilobytes() == 2048;
  }
  munmap(BASE, SPAN);
  setting(SYS "enabled", word);
  if (good)
    printf("huge fault %.0f\nhuge entry split %.0f\nhuge page split %.0f\nhuge page of small ones %.0f\n", best[FAULT], best[SPLIT_ENTRY], best[SPLIT_PAGE],
           best[COLLAPSE]);
}

int main(void) {
  sized("4K", NULL, MADV_NOHUGEPAGE);
  sized("64K", SYS "hugepages-64kB/enabled", MADV_HUGEPAGE);
  sized("2M", SYS "enabled", MADV_HUGEPAGE);
  huge();
  return 0;
}
