/* Line 1 of a trace: the list's own fields, the kernel, its settings, the limits of the executor and what is mapped at the start. */
#define _GNU_SOURCE
#include "recorder.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#define THP "/sys/kernel/mm/transparent_hugepage/"
#define POOL2M "/sys/kernel/mm/hugepages/hugepages-2048kB/"

static bool any;

static void print_setting(const char *key, const char *path) {
  char value[512];
  setting_read(path, value, sizeof value);
  huge_unbiased(path, value, sizeof value);
  text_format(&out, "%s\"%s\":\"%s\"", any ? "," : "", key, value);
  any = true;
}

static void print_settings(void) {
  static const char *const thp[] = {"enabled", "defrag", "shmem_enabled", "use_zero_page"};
  static const char *const khugepaged[] = {"max_ptes_none", "max_ptes_swap", "max_ptes_shared", "scan_sleep_millisecs"};
  static const char *const ksm[] = {"run", "use_zero_pages", "max_page_sharing"};
  static const char *const vm[] = {"overcommit_memory", "overcommit_ratio", "overcommit_kbytes", "max_map_count", "mmap_min_addr", "swappiness", "page-cluster", "unprivileged_userfaultfd", "legacy_va_layout", "memfd_noexec", "compaction_proactiveness"};
#define EACH(i, list) for (size_t i = 0; i < sizeof list / sizeof *list; i++)
  char key[64], path[192];
  any = false;
  EACH(i, thp) snprintf(key, sizeof key, "thp.%s", thp[i]), snprintf(path, sizeof path, THP "%s", thp[i]), print_setting(key, path);
  for (int kilobytes = 16; kilobytes <= 2048; kilobytes *= 2) {
    static const char *const kinds[] = {"enabled", "shmem_enabled"};
    EACH(i, kinds) {
      snprintf(key, sizeof key, "thp.%dkB.%s", kilobytes, kinds[i]);
      snprintf(path, sizeof path, THP "hugepages-%dkB/%s", kilobytes, kinds[i]);
      print_setting(key, path);
    }
  }
  EACH(i, khugepaged) snprintf(key, sizeof key, "khugepaged.%s", khugepaged[i]), snprintf(path, sizeof path, THP "khugepaged/%s", khugepaged[i]), print_setting(key, path);
  print_setting("hugetlb.2M.nr", POOL2M "nr_hugepages");
  print_setting("hugetlb.2M.overcommit", POOL2M "nr_overcommit_hugepages");
  print_setting("hugetlb.1G.nr", "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages");
  EACH(i, ksm) snprintf(key, sizeof key, "ksm.%s", ksm[i]), snprintf(path, sizeof path, "/sys/kernel/mm/ksm/%s", ksm[i]), print_setting(key, path);
  EACH(i, vm) snprintf(key, sizeof key, "vm.%s", vm[i]), snprintf(path, sizeof path, "/proc/sys/vm/%s", vm[i]), print_setting(key, path);
}

static void print_limits(void) {
  static const struct {
    const char *name;
    int resource;
  } limits[] = {{"DATA", RLIMIT_DATA}, {"STACK", RLIMIT_STACK}, {"AS", RLIMIT_AS}, {"MEMLOCK", RLIMIT_MEMLOCK}, {"NOFILE", RLIMIT_NOFILE}, {"FSIZE", RLIMIT_FSIZE}};
  text_string(&out, ",\"rlimits\":{");
  EACH(i, limits) {
    struct rlimit l = {0, 0};
    prlimit(tracees[0].pid, limits[i].resource, NULL, &l);
    text_format(&out, "%s\"%s\":[%ld,%ld]", i ? "," : "", limits[i].name, (long)l.rlim_cur, (long)l.rlim_max);
  }
  text_char(&out, '}');
}

void print_header(const char *fields) {
  struct utsname u;
  char memory[4096];
  uname(&u);
  u.release[strcspn(u.release, "-")] = 0;
  text_format(&out, "{\"trace\":1,\"kernel\":\"%s\",\"machine\":\"%s\",\"page_size\":4096", u.release, u.machine);
  if (*fields) {
    text_char(&out, ',');
    text_string(&out, fields);
  }
  text_string(&out, ",\"config\":{");
  print_settings();
  read_whole("/proc/meminfo", memory, sizeof memory);
  const char *total = strstr(memory, "MemTotal:");
  text_format(&out, ",\"MemTotal_kB\":%ld,\"cpus_used\":1", total ? atol(total + 9) : 0L);
  print_limits();
  text_string(&out, "},\"kernel_config\":");
  print_kernel_configuration();
  text_format(&out, ",\"harness\":{\"vmas\":[[\"0x%lx\",\"0x%lx\",\"rwxp\",\"private file\"]],\"brk\":\"0x%lx\",\"mmap_base\":\"0x7ffff7fff000\",\"task_size\":\"0x7ffffffff000\",\"VmPTE_base\":%ld}}\n",
              HARNESS_START, HARNESS_END, HARNESS_END, table_kilobytes_at_start);
}
