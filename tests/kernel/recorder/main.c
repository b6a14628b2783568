/*
 * recorder [--executor FILE] [--cpu N] < lists > traces
 *
 * Reads any number of lists: a header (a line with "ops"), operations, and either `{"end":...}`, the next header or the end of input.
 * Each list is played by a fresh executor and answered by one trace, which is flushed at its end. `recorder --check` only tells
 * whether this machine can be recorded (exit code 0, or 77 with one sentence on stderr).
 */
#define _GNU_SOURCE
#include "recorder.h"
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long snapshot_every;
static int operations;
static bool playing;

static long field(const char *header, const char *key, long otherwise) {
  const char *at = strstr(header, key);
  return at ? atol(at + strlen(key)) : otherwise;
}

static void begin_list(char *line) {
  char *last = strrchr(line, '}');
  if (last) *last = 0;
  snapshot_every = field(line, "\"snap\":", 1);
  if (snapshot_every < 1) snapshot_every = 1;
  without_referenced = field(line, "\"noref\":", 0) == 1;
  huge_begin(line);
  tracee_start_first();
  char path[64], status[8192];
  snprintf(path, sizeof path, "/proc/%d/status", tracees[0].pid);
  read_whole(path, status, sizeof status);
  const char *tables = strstr(status, "VmPTE:");
  table_kilobytes_at_start = tables ? atol(tables + 6) : 0;
  print_header(line + 1);
  operations = 0;
  playing = true;
}

static void end_list(void) {
  if (!playing) return;
  tracees_end();
  undo_now();
  huge_end();
  files_reset();
  calls_reset();
  text_format(&out, "{\"end\":%d}\n", operations);
  text_flush(&out, STDOUT_FILENO);
  playing = false;
}

static void play_line(char *line) {
  static struct text echo;
  struct operation op;
  char *last = strrchr(line, '}');
  echo.length = 0;
  text_bytes(&echo, line + 1, last ? last - line - 1 : 0);
  text_char(&echo, 0);
  if (!last || !parse_operation(line, &op)) give_up(EXIT_INPUT, "not an operation: {%s", echo.bytes);
  text_format(&out, "{\"i\":%d,", operations);
  text_string(&out, echo.bytes);
  drain_batches();
  play(&op);
  if (operations % snapshot_every == snapshot_every - 1 || !strcmp(op.name, "snap")) print_snapshot();
  text_string(&out, "}\n");
  operations++;
}

static void on_signal(int signal) {
  (void)signal;
  _exit(EXIT_BROKEN); /* the keeper takes back what was changed */
}

int main(int count, char **arguments) {
  int cpu = -1;
  bool only_check = false;
  for (int i = 1; i < count; i++) {
    if (!strcmp(arguments[i], "--executor") && i + 1 < count) executor_path = arguments[++i];
    else if (!strcmp(arguments[i], "--cpu") && i + 1 < count) cpu = atoi(arguments[++i]);
    else if (!strcmp(arguments[i], "--check")) only_check = true;
    else give_up(EXIT_INPUT, "unknown argument %s", arguments[i]);
  }
  if (!executor_path) {
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 16);
    path[n > 0 ? n : 0] = 0;
    char *slash = strrchr(path, '/');
    if (slash) strcpy(slash + 1, "executor");
    executor_path = path;
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu < 0) cpu = sched_getcpu();
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
  huge_start();
  undo_start();
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);
  signal(SIGHUP, on_signal);
  signal(SIGPIPE, SIG_IGN);
  huge_begin("");
  check_machine();
  huge_end();
  if (only_check) {
    tracee_start_first(); /* ptrace is allowed */
    return 0;
  }
  char *line = NULL;
  size_t room = 0;
  for (ssize_t n; (n = getline(&line, &room, stdin)) > 0;) {
    while (n && strchr("\n\r ", line[n - 1])) line[--n] = 0;
    if (line[0] != '{') continue;
    if (!strncmp(line, "{\"end\"", 6)) end_list();
    else if (strstr(line, "\"ops\":")) {
      end_list();
      begin_list(line);
    } else {
      if (!playing) begin_list(strcpy(malloc(3), "{}"));
      play_line(line);
    }
  }
  end_list();
  return 0;
}
