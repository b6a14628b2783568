/*
 * Lists about huge pages change settings of the whole machine (the pool of huge pages, the policy of transparent ones) and read counters
 * of it, so they are played alone: recorders agree by a lock on a file, held alone by such lists and shared by all others. The keeper holds
 * it too until it has taken back what was changed.
 *
 * While such a list is played, khugepaged finds nothing to do: what it collapses and when is not an operation's doing.
 *
 * Reservations that nobody owns (6.18 leaves some behind where part of a private hugetlb mapping is moved) stay until the machine is
 * started again. Those found at the start are taken off the counters and added to what a list asks of the pool, which is as good as a clean
 * one. A list that leaves more behind than it found would use the machine up: it ends the recorder.
 */
#define _GNU_SOURCE
#include "recorder.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define KHUGEPAGED "/sys/kernel/mm/transparent_hugepage/khugepaged/"

static int lock = -1;
static bool alone, counters;
static long unowned;
static char shown[128], playing[128];

static long count_of(const char *name) {
  char path[160], value[32];
  snprintf(path, sizeof path, POOL "%s", name);
  setting_read(path, value, sizeof value);
  return strtoull(value, NULL, 10); /* reservations can come to be fewer than none, which the kernel prints without a sign */
}

static bool of_group(const char *header, const char *group) {
  char field[64];
  snprintf(field, sizeof field, "\"group\":\"%s\"", group);
  return strstr(header, field) != NULL;
}

void huge_start(void) { lock = open("/tmp/pxd-recorder.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0666); }

void huge_begin(const char *header) {
  const char *sys = strstr(header, "\"sys\":[");
  counters = sys != NULL;
  if (sys && strncmp(sys, "\"sys\":[\"hugetlb\"]", 17)) give_up(EXIT_INPUT, "lists with \"sys\" of swap or ksm are not played here");
  alone = counters || of_group(header, "thp") || of_group(header, "hugetlb") || of_group(header, "gup") || of_group(header, "gup-huge");
  snprintf(playing, sizeof playing, "%s", header);
  shown[0] = 0;
  while (lock >= 0 && flock(lock, alone ? LOCK_EX : LOCK_SH) && errno == EINTR) {}
  if (!alone) return;
  unowned = count_of("resv_hugepages");
  setting_write(KHUGEPAGED "scan_sleep_millisecs", "36000000");
  setting_write(KHUGEPAGED "pages_to_scan", "1");
  setting_write(KHUGEPAGED "max_ptes_none", "0");
  setting_write(KHUGEPAGED "max_ptes_swap", "0");
  setting_write(KHUGEPAGED "max_ptes_shared", "0");
  setting_write("/proc/sys/vm/compaction_proactiveness", "0");
  if (!counters) return;
  /* lists begin with an empty pool, whatever this machine has */
  char room[32];
  setting_write(POOL "nr_hugepages", huge_biased(POOL "nr_hugepages", "0", room, sizeof room));
  setting_write(POOL "nr_overcommit_hugepages", "0");
}

void huge_end(void) {
  if (alone && count_of("resv_hugepages") > unowned)
    give_up(EXIT_BROKEN, "reservations of huge pages that nobody owns: %ld before, %ld after %s", unowned, count_of("resv_hugepages"), playing);
  alone = counters = false;
  unowned = 0;
  if (lock >= 0) flock(lock, LOCK_UN);
}

static bool is_pool(const char *path) { return unowned > 0 && (!strcmp(path, POOL "nr_hugepages") || !strcmp(path, "/proc/sys/vm/nr_hugepages")); }

const char *huge_biased(const char *path, const char *value, char *room, size_t bytes) {
  if (!is_pool(path)) return value;
  snprintf(room, bytes, "%ld", atol(value) + unowned);
  return room;
}

void huge_unbiased(const char *path, char *value, size_t bytes) {
  if (is_pool(path)) snprintf(value, bytes, "%ld", atol(value) - unowned);
}

void huge_print(bool *first) {
  char now[128];
  if (!counters) return;
  snprintf(now, sizeof now, "\"HugeTotal\":%ld,\"HugeFree\":%ld,\"HugeRsvd\":%ld,\"HugeSurp\":%ld", count_of("nr_hugepages") - unowned, count_of("free_hugepages") - unowned,
           count_of("resv_hugepages") - unowned, count_of("surplus_hugepages"));
  if (!strcmp(now, shown)) return;
  text_format(&out, "%s\"sys\":{%s}", *first ? "" : ",", now);
  strcpy(shown, now);
  *first = false;
}
