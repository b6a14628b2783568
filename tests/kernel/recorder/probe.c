/*
 * Whether recordings of this machine can be compared with a model of Linux 6.18 as it was configured for the recordings. What is
 * compared is found out by trying, and printed in each header.
 */
#define _GNU_SOURCE
#include "recorder.h"
#include "scan.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#define MEGABYTE (1UL << 20)

static void skip(const char *reason) { give_up(EXIT_SKIP, "%s", reason); }

static long number_after(const char *path, const char *key) {
  char bytes[8192];
  if (read_whole(path, bytes, sizeof bytes) <= 0) return -1;
  const char *at = strstr(bytes, key);
  return at ? atol(at + strlen(key)) : -1;
}

/* Writing a page sets bit 55 of its pagemap entry only where soft-dirty is compiled in; without it the bit is never set. */
static bool has_soft_dirty(void) {
  u64 entry = 0;
  char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *page = 1;
  int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (pread(fd, &entry, 8, (u64)page / PAGE * 8) != 8) entry = 0;
  close(fd);
  munmap(page, PAGE);
  return entry >> 55 & 1;
}

static bool has_anonymous_names(void) {
  char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int result = prctl(PR_SET_VMA, 0, page, PAGE, "x");
  munmap(page, PAGE);
  return result == 0;
}

/* Whether MADV_DONTNEED of all that a page-table page maps gives the page-table page back. */
static bool gives_tables_back(void) {
  char *area = mmap(NULL, 64 * MEGABYTE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  madvise(area, 64 * MEGABYTE, MADV_NOHUGEPAGE);
  for (u64 at = 0; at < 64 * MEGABYTE; at += 2 * MEGABYTE) area[at] = 1;
  long before = number_after("/proc/self/status", "VmPTE:");
  madvise(area, 64 * MEGABYTE, MADV_DONTNEED);
  long after = number_after("/proc/self/status", "VmPTE:");
  munmap(area, 64 * MEGABYTE);
  return before - after >= 64;
}

/* Frame numbers are shown, and a page of our own has its flags. */
static bool sees_frames(void) {
  u64 entry = 0, flags = 0, count = 0;
  char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *page = 1;
  int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  bool read = pread(fd, &entry, 8, (u64)page / PAGE * 8) == 8;
  u64 pfn = entry & ((1UL << 55) - 1);
  read = read && pfn && pread(kpageflags, &flags, 8, pfn * 8) == 8 && pread(kpagecount, &count, 8, pfn * 8) == 8;
  close(fd);
  munmap(page, PAGE);
  return read && (flags >> 12 & 1) && count == 1;
}

static bool has_pagemap_scan(void) {
  struct page_region region;
  struct pm_scan_arg scan = {.size = sizeof scan, .start = 0x10000, .end = 0x20000, .vec = (u64)&region, .vec_len = 1, .category_mask = PAGE_IS_PRESENT, .return_mask = PAGE_IS_PRESENT};
  int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), result = ioctl(fd, PAGEMAP_SCAN, &scan);
  close(fd);
  return result >= 0;
}

/* A protection key can be had only where the processor has them; the recordings are of one that has none. */
static bool has_protection_keys(void) {
  int key = syscall(SYS_pkey_alloc, 0, 0);
  if (key >= 0) syscall(SYS_pkey_free, key);
  return key >= 0;
}

bool protection_keys;
static bool soft_dirty, anonymous_names, tables_back;

static void must_be(const char *path, const char *wanted) {
  char value[128];
  setting_read(path, value, sizeof value);
  if (strcmp(value, wanted)) give_up(EXIT_SKIP, "%s is %s here, the recordings are of %s", path, *value ? value : "missing", wanted);
}

void check_machine(void) {
  struct utsname u;
  uname(&u);
  if (strcmp(u.machine, "x86_64")) give_up(EXIT_SKIP, "this machine is %s, the recorder knows x86_64", u.machine);
  if (strncmp(u.release, "6.18.", 5)) give_up(EXIT_SKIP, "the kernel is %s, the model is of 6.18", u.release);
  if (sysconf(_SC_PAGESIZE) != PAGE) skip("pages are not of 4096 bytes");
  kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
  kpagecount = open("/proc/kpagecount", O_RDONLY | O_CLOEXEC);
  if (kpageflags < 0 || kpagecount < 0) give_up(EXIT_SKIP, "/proc/kpageflags and /proc/kpagecount cannot be read: %s", strerror(errno));
  if (!sees_frames()) skip("/proc/self/pagemap shows no frame numbers (CAP_SYS_ADMIN is needed)");
  if (!has_pagemap_scan()) skip("the PAGEMAP_SCAN ioctl is refused");
  soft_dirty = has_soft_dirty();
  anonymous_names = has_anonymous_names();
  tables_back = gives_tables_back();
  protection_keys = has_protection_keys();
  if (soft_dirty) skip("the kernel tracks soft-dirty pages (CONFIG_MEM_SOFT_DIRTY), that of the recordings does not");
  if (anonymous_names) skip("the kernel has CONFIG_ANON_VMA_NAME, that of the recordings does not");
  if (!tables_back) skip("the kernel keeps empty page tables (no CONFIG_PT_RECLAIM), that of the recordings gives them back");
  must_be("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
  must_be("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never");
  must_be("/sys/kernel/mm/ksm/run", "0");
  must_be("/proc/sys/vm/overcommit_memory", "0");
  must_be("/proc/sys/vm/legacy_va_layout", "0");
  if (number_after("/proc/meminfo", "SwapTotal:") != 0) skip("swap is on, the operations that are compared expect none");
}

void print_kernel_configuration(void) {
  text_format(&out, "{\"MEM_SOFT_DIRTY\":%s,\"ANON_VMA_NAME\":%s,\"PT_RECLAIM\":%s,\"protection_keys\":%s,\"SwapTotal_kB\":%ld}", soft_dirty ? "true" : "false",
              anonymous_names ? "true" : "false", tables_back ? "true" : "false", protection_keys ? "true" : "false", number_after("/proc/meminfo", "SwapTotal:"));
}
