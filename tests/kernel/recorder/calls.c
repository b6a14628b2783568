/*
 * Operations that are system calls of a process, and those that the recorder carries out itself (/proc, ptrace, settings).
 * Arguments in memory are put into the executor's room before the call.
 */
#define _GNU_SOURCE
#include "recorder.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include "scan.h"
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- results ---- */
static void print_error(s64 result) {
  const char *name = strerrorname_np(-result);
  if (name) text_format(&out, ",\"r\":\"%s\"", name);
  else text_format(&out, ",\"r\":\"E%d\"", (int)-result);
}

static bool is_error(s64 result) { return result < 0 && result > -4096; }

void print_result(s64 result) {
  if (is_error(result)) {
    print_error(result);
    return;
  }
  text_string(&out, ",\"r\":");
  text_decimal(&out, result);
}

void print_address(s64 result) {
  if (is_error(result)) print_error(result);
  else text_format(&out, ",\"r\":\"0x%lx\"", (u64)result);
}

void print_ending(struct tracee *t, enum outcome outcome) {
  int s = t->wait_status;
  if (outcome == TIMED_OUT) text_string(&out, ",\"r\":\"timeout\"");
  else if (outcome == FAULTED) text_format(&out, ",\"r\":\"signal %d %d 0x%lx\"", t->signal, t->code, t->fault_address);
  else if (WIFSIGNALED(s)) text_format(&out, ",\"r\":\"gone\",\"status\":\"signal %d\"", WTERMSIG(s));
  else text_format(&out, ",\"r\":\"gone\",\"status\":\"exit %d\"", WEXITSTATUS(s));
}

/* A call by t. False, with the result printed, where the process did not come back from it. */
static bool call(struct tracee *t, s64 *result, long number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
  enum outcome outcome = system_call(t, result, number, a, b, c, d, e, f);
  if (outcome == STOPPED) return true;
  print_ending(t, outcome);
  return false;
}

static void note_descriptor(struct tracee *t, s64 fd) {
  if (fd >= 0 && fd < 64) t->open_files |= 1UL << fd;
}

/* ---- plain system calls: integers in kernel order ---- */
static const struct plain {
  const char *name;
  long number;
  int arguments;
  enum { AN_INTEGER, AN_ADDRESS, A_DESCRIPTOR } gives;
} plain_calls[] = {
  {"mmap", SYS_mmap, 6, AN_ADDRESS}, {"munmap", SYS_munmap, 2, 0}, {"mprotect", SYS_mprotect, 3, 0}, {"mremap", SYS_mremap, 5, AN_ADDRESS},
  {"madvise", SYS_madvise, 3, 0}, {"brk", SYS_brk, 1, AN_ADDRESS}, {"msync", SYS_msync, 3, 0}, {"mlock", SYS_mlock, 2, 0},
  {"mlock2", SYS_mlock2, 3, 0}, {"munlock", SYS_munlock, 2, 0}, {"mlockall", SYS_mlockall, 1, 0}, {"munlockall", SYS_munlockall, 0, 0},
  {"remap_file_pages", SYS_remap_file_pages, 5, 0}, {"ftruncate", SYS_ftruncate, 2, 0}, {"fallocate", SYS_fallocate, 4, 0},
  {"fcntl", SYS_fcntl, 3, 0}, {"close", SYS_close, 1, 0}, {"mseal", 462, 3, 0}, {"prctl", SYS_prctl, 5, 0}, {"lseek", SYS_lseek, 3, 0},
  {"dup", SYS_dup, 1, A_DESCRIPTOR}, {"fadvise64", SYS_fadvise64, 4, 0}, {"fsync", SYS_fsync, 1, 0}, {"sync_file_range", SYS_sync_file_range, 4, 0},
  {"pkey_alloc", SYS_pkey_alloc, 2, 0}, {"pkey_mprotect", SYS_pkey_mprotect, 4, 0}, {"pkey_free", SYS_pkey_free, 1, 0},
  {"read", SYS_read, 3, 0}, {"write", SYS_write, 3, 0}, {"pread64", SYS_pread64, 4, 0}, {"pwrite64", SYS_pwrite64, 4, 0},
  {"shmdt", SYS_shmdt, 1, 0}, {"memfd_secret", 447, 1, A_DESCRIPTOR}, {"membarrier", SYS_membarrier, 3, 0}, {"map_shadow_stack", 453, 3, AN_ADDRESS},
};

static bool play_plain(struct tracee *t, const struct operation *op) {
  const struct plain *p = plain_calls, *end = p + sizeof plain_calls / sizeof *p;
  while (p < end && strcmp(p->name, op->name)) p++;
  if (p == end) return false;
  u64 a[6];
  s64 result;
  for (int i = 0; i < 6; i++) a[i] = i < p->arguments ? number_at(&op->arguments, i) : 0;
  if (!call(t, &result, p->number, a[0], a[1], a[2], a[3], a[4], a[5])) return true;
  if (p->gives == AN_ADDRESS) print_address(result);
  else print_result(result);
  if (p->gives == A_DESCRIPTOR) note_descriptor(t, result);
  if (p->number == SYS_close && result == 0 && a[0] < 64) t->open_files &= ~(1UL << a[0]);
  if (p->number == SYS_fcntl && (a[1] == F_DUPFD || a[1] == F_DUPFD_CLOEXEC)) note_descriptor(t, result);
  return true;
}

/* ---- files ---- */
static void put_path(struct tracee *t, const char *name) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", directory_of(*name), *name ? name + 2 : "");
  room_write(t, ROOM, path, strlen(path) + 1);
}

static void memfd_create_(struct tracee *t, const struct value *a) {
  s64 fd;
  char name[32];
  const char *given = string_at(a, 0);
  room_write(t, ROOM, given, strlen(given) + 1);
  if (!call(t, &fd, SYS_memfd_create, ROOM, number_at(a, 1), 0, 0, 0, 0)) return;
  print_result(fd);
  if (fd < 0) return;
  note_descriptor(t, fd);
  snprintf(name, sizeof name, "memfd:%d", new_memfd_number());
  file_opened(t, fd, name, number_at(a, 1) & 4 ? HUGETLB : SHMEM);
}

static void open_(struct tracee *t, const struct value *a) {
  s64 fd;
  char name[96];
  const char *path = string_at(a, 0);
  put_path(t, path);
  if (!call(t, &fd, SYS_open, ROOM, number_at(a, 1), 0600, 0, 0, 0)) return;
  print_result(fd);
  if (fd < 0) return;
  note_descriptor(t, fd);
  snprintf(name, sizeof name, "%s:%s", *path == 'T' ? "tmpfs" : "disk", path + 2);
  file_opened(t, fd, name, *path == 'T' ? SHMEM : DISK);
}

static void unlink_(struct tracee *t, const struct value *a) {
  s64 result;
  put_path(t, string_at(a, 0));
  if (call(t, &result, SYS_unlink, ROOM, 0, 0, 0, 0, 0)) print_result(result);
}

static u64 capped(u64 length) { return length < ROOM_BYTES ? length : ROOM_BYTES; }

/* readbuf fd len, preadbuf fd len off */
static void read_buffer(struct tracee *t, const struct value *a, long number) {
  static unsigned char bytes[ROOM_BYTES];
  s64 n;
  if (!call(t, &n, number, number_at(a, 0), ROOM, capped(number_at(a, 1)), number_at(a, 2), 0, 0)) return;
  print_result(n);
  if (n <= 0) return;
  room_read(t, ROOM, bytes, n);
  text_string(&out, ",\"v\":");
  text_runs(&out, bytes, n);
}

/* writebuf fd byte len, pwritebuf fd byte len off */
static void write_buffer(struct tracee *t, const struct value *a, long number) {
  static unsigned char bytes[ROOM_BYTES];
  s64 result;
  u64 length = capped(number_at(a, 2));
  memset(bytes, number_at(a, 1), length);
  room_write(t, ROOM, bytes, length);
  if (call(t, &result, number, number_at(a, 0), ROOM, length, number_at(a, 3), 0, 0)) print_result(result);
}

static void pipe2_(struct tracee *t, const struct value *a) {
  s64 result;
  int ends[2];
  if (!call(t, &result, SYS_pipe2, ROOM, number_at(a, 0), 0, 0, 0, 0)) return;
  print_result(result);
  if (result) return;
  room_read(t, ROOM, ends, sizeof ends);
  note_descriptor(t, ends[0]);
  note_descriptor(t, ends[1]);
  text_format(&out, ",\"v\":[%d,%d]", ends[0], ends[1]);
}

/* ---- vectors of ranges, other processes ---- */
#define MOST_VECTORS 256
/* Puts [[address,length]..] into the room as struct iovec; their number. */
static int put_vectors(struct tracee *t, const struct value *list, u64 at) {
  struct iovec v[MOST_VECTORS];
  int n = list->count < MOST_VECTORS ? list->count : MOST_VECTORS;
  for (int i = 0; i < n; i++) v[i] = (struct iovec){(void *)number_at(&list->items[i], 0), number_at(&list->items[i], 1)};
  room_write(t, at, v, n * sizeof *v);
  return n;
}

static struct tracee *target_of(const struct value *a) {
  u64 i = number_at(a, 0);
  if (i < (u64)tracee_count) return &tracees[i];
  text_string(&out, ",\"r\":\"noproc\"");
  return NULL;
}

static void process_vm(struct tracee *t, const struct value *a, long number) {
  s64 result;
  struct tracee *target = target_of(a);
  if (!target) return;
  int local = put_vectors(t, list_at(a, 1), ROOM), remote = put_vectors(t, list_at(a, 2), ROOM + 0x2000);
  if (call(t, &result, number, target->pid, ROOM, local, ROOM + 0x2000, remote, number_at(a, 3))) print_result(result);
}

/* Through a pidfd that is opened before and closed after. */
static void by_pidfd(struct tracee *t, const struct value *a, long number) {
  s64 result;
  struct tracee *target = target_of(a);
  if (!target) return;
  int n = number == SYS_process_madvise ? put_vectors(t, list_at(a, 1), ROOM) : 0;
  s64 fd = plain_call(t, SYS_pidfd_open, target->pid, 0, 0);
  if (fd < 0) {
    print_result(fd);
    return;
  }
  bool back = n || number == SYS_process_madvise ? call(t, &result, number, fd, ROOM, n, number_at(a, 2), number_at(a, 3), 0)
                                                  : call(t, &result, number, fd, number_at(a, 1), 0, 0, 0, 0);
  if (!back) return;
  plain_call(t, SYS_close, fd, 0, 0);
  print_result(result);
}

static void vmsplice_(struct tracee *t, const struct value *a) {
  s64 result;
  int n = put_vectors(t, list_at(a, 1), ROOM);
  if (call(t, &result, SYS_vmsplice, number_at(a, 0), ROOM, n, number_at(a, 2), 0, 0)) print_result(result);
}

static void fork_(struct tracee *t) {
  s64 pid;
  t->child = -1;
  if (!call(t, &pid, SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0, 0)) return;
  if (pid < 0) print_result(pid);
  else text_format(&out, ",\"r\":\"P%d\"", t->child);
}

/* ---- limits ---- */
static void setrlimit_(struct tracee *t, const struct value *a) {
  s64 result;
  u64 limit[2] = {number_at(a, 1), number_at(a, 2)};
  room_write(t, ROOM, limit, sizeof limit);
  if (call(t, &result, SYS_prlimit64, 0, number_at(a, 0), ROOM, 0, 0, 0)) print_result(result);
}

static void capdrop(struct tracee *t, const struct value *a) {
  s64 result;
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  room_write(t, ROOM, &header, sizeof header);
  if (plain_call(t, SYS_capget, ROOM, ROOM + 64, 0)) give_up(EXIT_BROKEN, "capget failed");
  room_read(t, ROOM + 64, data, sizeof data);
  u64 kept = data[0].effective | (u64)data[1].effective << 32;
  for (int i = 0; i < a->count; i++) kept &= ~(1UL << (number_at(a, i) & 63));
  for (int i = 0; i < 2; i++) data[i].effective = data[i].permitted = kept >> 32 * i, data[i].inheritable = 0;
  room_write(t, ROOM + 64, data, sizeof data);
  if (call(t, &result, SYS_capset, ROOM, ROOM + 64, 0, 0, 0, 0)) print_result(result);
}

static void mincore_(struct tracee *t, const struct value *a) {
  static unsigned char bytes[ROOM_BYTES];
  s64 result;
  if (!call(t, &result, SYS_mincore, number_at(a, 0), number_at(a, 1), ROOM, 0, 0, 0)) return;
  print_result(result);
  if (result) return;
  u64 n = capped((number_at(a, 1) + PAGE - 1) / PAGE);
  room_read(t, ROOM, bytes, n);
  for (u64 i = 0; i < n; i++) bytes[i] &= 1;
  text_string(&out, ",\"v\":");
  text_runs(&out, bytes, n);
}

/* mapmany address n stride length protection flags */
static void mapmany(struct tracee *t, const struct value *a) {
  u64 done = 0;
  for (; done < number_at(a, 1); done++) {
    s64 result;
    if (!call(t, &result, SYS_mmap, number_at(a, 0) + done * number_at(a, 2), number_at(a, 3), number_at(a, 4), number_at(a, 5), -1, 0)) return;
    if (is_error(result)) break;
  }
  print_result(done);
}

/* ---- System V shared memory: segments by the order in which they were made ---- */
static int segments[256], segment_count;

static u64 segment(const struct value *a) {
  u64 i = number_at(a, 0);
  return i < (u64)segment_count ? (u64)segments[i] : (u64)-1;
}

static void shmget_(struct tracee *t, const struct value *a) {
  s64 id;
  if (!call(t, &id, SYS_shmget, number_at(a, 0), number_at(a, 1), number_at(a, 2), 0, 0, 0)) return;
  if (id < 0) {
    print_result(id);
    return;
  }
  undo_segment(id);
  if (segment_count == 256) give_up(EXIT_INPUT, "a list makes more than 256 shared memory segments");
  segments[segment_count++] = id;
  text_format(&out, ",\"r\":\"shm%d\"", segment_count - 1);
}

static void shmat_(struct tracee *t, const struct value *a) {
  s64 result;
  if (call(t, &result, SYS_shmat, segment(a), number_at(a, 1), number_at(a, 2), 0, 0, 0)) print_address(result);
}

void calls_reset(void) { segment_count = 0; }

/* ---- carried out by the recorder ---- */
static void cfg(const struct value *a) {
  char value[512], number[32];
  const char *path = string_at(a, 0), *wanted = string_at(a, 1);
  if ((strncmp(path, "/sys/kernel/mm/", 15) && strncmp(path, "/proc/sys/vm/", 13)) || strstr(path, "..")) {
    text_string(&out, ",\"r\":\"EPERM\"");
    return;
  }
  if (a->count > 1 && a->items[1].kind == NUMBER) snprintf(number, sizeof number, "%ld", (s64)number_at(a, 1)), wanted = number;
  print_result(setting_write(path, huge_biased(path, wanted, number, sizeof number)));
  setting_read(path, value, sizeof value);
  huge_unbiased(path, value, sizeof value);
  text_format(&out, ",\"v\":\"%s\"", value);
}

/* pm_read address len, pm_write address len byte: /proc/PID/mem */
static void proc_mem(struct tracee *t, const struct value *a, bool writes) {
  static unsigned char bytes[1 << 20];
  u64 length = number_at(a, 1);
  if (length > sizeof bytes) length = sizeof bytes;
  if (writes) memset(bytes, number_at(a, 2), length);
  ssize_t n = writes ? pwrite(t->memory, bytes, length, number_at(a, 0)) : pread(t->memory, bytes, length, number_at(a, 0));
  print_result(n < 0 ? -errno : n);
  if (writes || n <= 0) return;
  text_string(&out, ",\"v\":");
  text_runs(&out, bytes, n);
}

static void peek(struct tracee *t, const struct value *a) {
  errno = 0;
  long word = ptrace(PTRACE_PEEKDATA, t->pid, number_at(a, 0), 0);
  if (errno) print_result(-errno);
  else text_format(&out, ",\"r\":\"0x%lx\"", word);
}

static void poke(struct tracee *t, const struct value *a) { print_result(ptrace(PTRACE_POKEDATA, t->pid, number_at(a, 0), number_at(a, 1)) < 0 ? -errno : 0); }

/* pagemap_scan start end flags most_pages inverted mask any_of returned [regions] */
static void pagemap_scan(struct tracee *t, const struct value *a) {
  struct page_region regions[256];
  u64 room = a->count > 8 ? number_at(a, 8) : 256;
  if (room > 256) room = 256;
  struct pm_scan_arg scan = {
    .size = sizeof scan, .start = number_at(a, 0), .end = number_at(a, 1), .flags = number_at(a, 2), .max_pages = number_at(a, 3),
    .category_inverted = number_at(a, 4), .category_mask = number_at(a, 5), .category_anyof_mask = number_at(a, 6), .return_mask = number_at(a, 7),
    .vec = room ? (u64)regions : 0, .vec_len = room,
  };
  int n = ioctl(t->pagemap, PAGEMAP_SCAN, &scan);
  print_result(n < 0 ? -errno : n);
  if (n < 0) return;
  text_string(&out, ",\"v\":[");
  for (int i = 0; i < n; i++)
    text_format(&out, "%s[\"0x%llx\",\"0x%llx\",%llu]", i ? "," : "", (unsigned long long)regions[i].start, (unsigned long long)regions[i].end,
                (unsigned long long)regions[i].categories);
  text_format(&out, "],\"walk_end\":\"0x%llx\"", (unsigned long long)scan.walk_end);
}

static void clear_refs(struct tracee *t, const struct value *a) {
  char path[64], value[32];
  snprintf(path, sizeof path, "/proc/%d/clear_refs", t->pid);
  int fd = open(path, O_WRONLY | O_CLOEXEC), n = snprintf(value, sizeof value, "%lu", number_at(a, 0));
  print_result(fd < 0 || write(fd, value, n) < 0 ? -errno : 0);
  if (fd >= 0) close(fd);
}

static void shmrm(const struct value *a) { print_result(shmctl(segment(a), IPC_RMID, NULL) < 0 ? -errno : 0); }

static void pause_for(const struct value *a) {
  u64 ms = number_at(a, 0);
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  while (nanosleep(&t, &t) && errno == EINTR) {}
  print_result(0);
}

void play(const struct operation *op) {
  const struct value *a = &op->arguments;
  const char *name = op->name;
#define IS(string) (!strcmp(name, string))
  if (IS("cfg")) return cfg(a);
  if (IS("shmrm")) return shmrm(a);
  if (IS("snap")) return print_result(0);
  if (IS("sleep")) return pause_for(a);
  struct tracee *t = op->process < tracee_count ? &tracees[op->process] : NULL;
  if (!t || !t->alive) {
    text_string(&out, ",\"r\":\"noproc\"");
    return;
  }
  if (play_access(t, op) || play_plain(t, op)) return;
  if (IS("fork")) return fork_(t);
  if (IS("exit")) {
    s64 result;
    call(t, &result, SYS_exit_group, number_at(a, 0), 0, 0, 0, 0, 0);
    return;
  }
  if (IS("kill")) {
    kill_tracee(t);
    return print_ending(t, GONE);
  }
  if (IS("mincore")) return mincore_(t, a);
  if (IS("memfd_create")) return memfd_create_(t, a);
  if (IS("open")) return open_(t, a);
  if (IS("unlink")) return unlink_(t, a);
  if (IS("readbuf")) return read_buffer(t, a, SYS_read);
  if (IS("preadbuf")) return read_buffer(t, a, SYS_pread64);
  if (IS("writebuf")) return write_buffer(t, a, SYS_write);
  if (IS("pwritebuf")) return write_buffer(t, a, SYS_pwrite64);
  if (IS("pipe2")) return pipe2_(t, a);
  if (IS("vmsplice")) return vmsplice_(t, a);
  if (IS("process_vm_readv")) return process_vm(t, a, SYS_process_vm_readv);
  if (IS("process_vm_writev")) return process_vm(t, a, SYS_process_vm_writev);
  if (IS("process_madvise")) return by_pidfd(t, a, SYS_process_madvise);
  if (IS("process_mrelease")) return by_pidfd(t, a, SYS_process_mrelease);
  if (IS("setrlimit")) return setrlimit_(t, a);
  if (IS("capdrop")) return capdrop(t, a);
  if (IS("shmget")) return shmget_(t, a);
  if (IS("shmat")) return shmat_(t, a);
  if (IS("mapmany")) return mapmany(t, a);
  if (IS("pm_read")) return proc_mem(t, a, false);
  if (IS("pm_write")) return proc_mem(t, a, true);
  if (IS("peek")) return peek(t, a);
  if (IS("poke")) return poke(t, a);
  if (IS("pagemap_scan")) return pagemap_scan(t, a);
  if (IS("clear_refs")) return clear_refs(t, a);
#undef IS
  text_string(&out, ",\"r\":\"unknown-op\"");
}
