/*
 * The processes that operations run in: the executor under ptrace. Recorder and executors share one CPU, so that handing over is a
 * context switch and the LRU batches that the recorder empties are the ones that the executors fill.
 */
#define _GNU_SOURCE
#include "recorder.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

struct tracee tracees[MOST_TRACEES];
int tracee_count;
s64 table_kilobytes_at_start;
const char *executor_path;
static struct tracee *running;

void drain_batches(void) {
  static char *page;
  if (!page) {
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *page = 1;
  }
  mlock(page, PAGE);
  munlock(page, PAGE);
}

static void watch(struct tracee *t) {
  char path[64];
  const struct {
    int *fd;
    const char *name;
    int flags;
  } files[] = {
    {&t->memory, "mem", O_RDWR}, {&t->pagemap, "pagemap", O_RDONLY}, {&t->smaps, "smaps", O_RDONLY}, {&t->status, "status", O_RDONLY},
    {&t->descriptors, "fd", O_RDONLY | O_DIRECTORY},
  };
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    snprintf(path, sizeof path, "/proc/%d/%s", t->pid, files[i].name);
    if ((*files[i].fd = open(path, files[i].flags | O_CLOEXEC)) < 0) give_up(EXIT_BROKEN, "%s: %s", path, strerror(errno));
  }
}

static void forget(struct tracee *t, int wait_status) {
  t->alive = false;
  t->wait_status = wait_status;
  int *files[] = {&t->memory, &t->pagemap, &t->smaps, &t->status, &t->descriptors};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    if (*files[i] >= 0) close(*files[i]);
    *files[i] = -1;
  }
}

/* A new tracee; the process has stopped for the first time or will at once. */
static struct tracee *admit(pid_t pid) {
  if (tracee_count == MOST_TRACEES) give_up(EXIT_INPUT, "a list makes more than %d processes", MOST_TRACEES);
  struct tracee *t = &tracees[tracee_count++];
  *t = (struct tracee){.pid = pid, .alive = true, .child = -1};
  return t;
}

static void admit_child(struct tracee *parent, pid_t pid) {
  int status;
  while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR) {}
  struct tracee *t = admit(pid);
  t->registers = parent->registers;
  t->open_files = parent->open_files;
  watch(t);
  parent->child = t - tracees;
}

/* Waits until t stops for a reason that ends an operation. */
static enum outcome wait_for(struct tracee *t) {
  for (;;) {
    int status;
    if (waitpid(t->pid, &status, __WALL) < 0) {
      if (errno != EINTR) {
        forget(t, 0);
        return GONE;
      }
      continue;
    }
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      forget(t, status);
      return running ? GONE : TIMED_OUT; /* the alarm killed it */
    }
    if (!WIFSTOPPED(status)) continue;
    int signal = WSTOPSIG(status), event = status >> 16;
    if (event) {
      unsigned long pid = 0;
      if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_VFORK) {
        ptrace(PTRACE_GETEVENTMSG, t->pid, 0, &pid);
        admit_child(t, pid);
      }
    } else if (signal == SIGTRAP) return STOPPED;
    else if (signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE) {
      siginfo_t info = {0};
      ptrace(PTRACE_GETSIGINFO, t->pid, 0, &info);
      t->signal = signal;
      t->code = info.si_code;
      t->fault_address = (u64)info.si_addr;
      return FAULTED;
    }
    /* an event or a signal that no operation is about (SIGSTOP, SIGPIPE, SIGXFSZ): on, without it */
    ptrace(PTRACE_CONT, t->pid, 0, 0);
  }
}

static void on_alarm(int signal) {
  (void)signal;
  if (running) kill(running->pid, SIGKILL);
  running = NULL;
}

static enum outcome run(struct tracee *t, int how) {
  running = t;
  alarm(SECONDS_AN_OPERATION);
  ptrace(PTRACE_SETREGS, t->pid, 0, &t->registers);
  ptrace(how, t->pid, 0, 0);
  enum outcome outcome = wait_for(t);
  if (outcome == STOPPED || outcome == FAULTED) ptrace(PTRACE_GETREGS, t->pid, 0, &t->registers);
  alarm(0);
  running = NULL;
  return outcome;
}

enum outcome run_on(struct tracee *t) { return run(t, PTRACE_CONT); }
enum outcome step_once(struct tracee *t) { return run(t, PTRACE_SINGLESTEP); }

struct user_regs_struct *routine(struct tracee *t, u64 address) {
  struct user_regs_struct *r = &t->registers;
  r->rip = address;
  r->orig_rax = -1; /* no system call to go on with */
  r->rax = r->rbx = r->rcx = r->rdx = r->rsi = r->rdi = r->rbp = r->rsp = 0;
  r->r8 = r->r9 = r->r10 = r->r11 = r->r12 = r->r13 = r->r14 = r->r15 = 0;
  r->eflags = 0x202;
  return r;
}

enum outcome system_call(struct tracee *t, s64 *result, long number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
  struct user_regs_struct *r = routine(t, ROUTINE(AT_SYSCALL));
  r->rax = number;
  r->rdi = a;
  r->rsi = b;
  r->rdx = c;
  r->r10 = d;
  r->r8 = e;
  r->r9 = f;
  enum outcome outcome = run_on(t);
  *result = t->registers.rax;
  return outcome;
}

s64 plain_call(struct tracee *t, long number, u64 a, u64 b, u64 c) {
  s64 result;
  return system_call(t, &result, number, a, b, c, 0, 0, 0) == STOPPED ? result : -EINTR;
}

void room_write(struct tracee *t, u64 at, const void *bytes, size_t length) {
  struct iovec from = {(void *)bytes, length}, to = {(void *)at, length};
  if (length && process_vm_writev(t->pid, &from, 1, &to, 1, 0) != (ssize_t)length) give_up(EXIT_BROKEN, "cannot write to the executor: %s", strerror(errno));
}

void room_read(struct tracee *t, u64 at, void *bytes, size_t length) {
  struct iovec to = {bytes, length}, from = {(void *)at, length};
  if (length && process_vm_readv(t->pid, &to, 1, &from, 1, 0) != (ssize_t)length) give_up(EXIT_BROKEN, "cannot read from the executor: %s", strerror(errno));
}

void kill_tracee(struct tracee *t) {
  int status = 0;
  if (!t->alive) return;
  kill(t->pid, SIGKILL);
  for (;;) {
    pid_t got = waitpid(t->pid, &status, __WALL);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 || WIFEXITED(status) || WIFSIGNALED(status)) break;
  }
  forget(t, status);
}

/* What the child does between fork and exec. Only what the recordings depend on is set. */
static void become_executor(void) {
  const struct {
    int resource;
    struct rlimit limit;
  } limits[] = {
    {RLIMIT_STACK, {8 << 20, RLIM_INFINITY}},         {RLIMIT_MEMLOCK, {8 << 20, 8 << 20}},
    {RLIMIT_DATA, {RLIM_INFINITY, RLIM_INFINITY}},    {RLIMIT_AS, {RLIM_INFINITY, RLIM_INFINITY}},
    {RLIMIT_FSIZE, {RLIM_INFINITY, RLIM_INFINITY}},   {RLIMIT_CORE, {0, 0}},
    {RLIMIT_NOFILE, {20000, 20000}},
  };
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) setrlimit(limits[i].resource, &limits[i].limit);
  prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0); /* recordings are of a root without it */
  personality(ADDR_NO_RANDOMIZE);
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  close_range(0, ~0U, 0);
  char *arguments[] = {"executor", NULL}, *environment[] = {NULL};
  execve(executor_path, arguments, environment);
  _exit(127);
}

/* Everything but the executor's own mapping is unmapped: stack, vdso, vvar. */
static void strip_mappings(struct tracee *t) {
  char path[64], maps[16384];
  snprintf(path, sizeof path, "/proc/%d/maps", t->pid);
  read_whole(path, maps, sizeof maps);
  for (char *line = maps; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
    u64 start, end;
    if (sscanf(line, "%lx-%lx", &start, &end) != 2 || start >> 63 || (start >= HARNESS_START && start < HARNESS_END)) continue;
    plain_call(t, SYS_munmap, start, end - start, 0);
  }
}

/*
 * Where the processor has protection keys, Linux takes one to make PROT_EXEC alone unreadable; without keys such memory can be read,
 * as in the recordings. So all keys are taken beforehand: then there is none left for that, in this process and its children.
 */
static void use_up_protection_keys(struct tracee *t) {
  while (protection_keys && plain_call(t, SYS_pkey_alloc, 0, 0, 0) >= 0) {}
}

void tracee_start_first(void) {
  int status;
  struct sigaction action = {.sa_handler = on_alarm};
  sigaction(SIGALRM, &action, NULL);
  pid_t pid = fork();
  if (pid < 0) give_up(EXIT_BROKEN, "fork: %s", strerror(errno));
  if (pid == 0) become_executor();
  while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR) {}
  if (!WIFSTOPPED(status)) give_up(EXIT_SKIP, "the executor cannot be traced or started (%s)", executor_path);
  ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEVFORK);
  struct tracee *t = admit(pid);
  ptrace(PTRACE_GETREGS, pid, 0, &t->registers);
  run_on(t); /* up to the int3 at its start */
  watch(t);
  strip_mappings(t);
  /* every page of its mapping is touched, so that what it costs never changes */
  char zero = 0;
  room_write(t, HARNESS_START + 0xf00, &zero, 1);
  for (u64 page = ROOM; page < HARNESS_END; page += PAGE) room_write(t, page + PAGE - 8, &page, 8);
  use_up_protection_keys(t);
}

void tracees_end(void) {
  for (int i = 0; i < tracee_count; i++) {
    struct tracee *t = &tracees[i];
    kill_tracee(t);
    for (int k = 0; k < t->line_count; k++) free(t->lines[k].text);
    free(t->lines);
  }
  tracee_count = 0;
}
