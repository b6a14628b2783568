/*
 * What a recording changes outside of its own processes, and how it is taken back.
 *
 * Every change is noted in memory shared with a second process, the keeper, before it is made. The keeper waits for the other end of a
 * pipe to be closed, which happens however the recorder ends (SIGKILL as well), takes back what is still noted, and ends. So there is
 * one way to take things back, and it is the one that a crash takes too. Tracees die with their tracer (PTRACE_O_EXITKILL).
 */
#define _GNU_SOURCE
#include "recorder.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_SETTINGS = 64, MOST_SEGMENTS = 256, MOST_FOLDERS = 4 };
struct notes {
  volatile int settings, segments, folders;
  struct {
    char path[160], old[96];
  } setting[MOST_SETTINGS];
  int segment[MOST_SEGMENTS];
  char folder[MOST_FOLDERS][160];
};
static struct notes *notes;
static int keeper_pipe = -1;
static pid_t keeper, recorder;

ssize_t read_whole(const char *path, char *bytes, size_t room) {
  size_t length = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  bytes[0] = 0;
  if (fd < 0) return -errno;
  for (ssize_t n; length < room - 1 && (n = read(fd, bytes + length, room - 1 - length)) > 0;) length += n;
  bytes[length] = 0;
  close(fd);
  return length;
}

static int write_value(const char *path, const char *value) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  int result = write(fd, value, strlen(value)) < 0 ? -errno : 0;
  close(fd);
  return result;
}

void setting_read(const char *path, char *value, size_t room) {
  char bytes[4096];
  read_whole(path, bytes, sizeof bytes);
  char *start = strchr(bytes, '['), *end = start ? strchr(start, ']') : NULL;
  start = end ? start + 1 : bytes;
  if (!end) end = start + strcspn(start, "\n");
  snprintf(value, room, "%.*s", (int)(end - start), start);
  for (char *c = value; *c; c++)
    if (*c == '\t') *c = ' ';
}

int setting_write(const char *path, const char *value) {
  int i = 0;
  while (i < notes->settings && strcmp(notes->setting[i].path, path)) i++;
  if (i == notes->settings) {
    if (i == MOST_SETTINGS || strlen(path) >= sizeof notes->setting[i].path) return -ENOSPC;
    strcpy(notes->setting[i].path, path);
    setting_read(path, notes->setting[i].old, sizeof notes->setting[i].old);
    notes->settings = i + 1;
  }
  return write_value(path, value);
}

void undo_segment(int id) {
  for (int i = 0; i < notes->segments; i++)
    if (notes->segment[i] == id) return;
  if (notes->segments == MOST_SEGMENTS) give_up(EXIT_INPUT, "a list makes more than %d shared memory segments", MOST_SEGMENTS);
  notes->segment[notes->segments] = id;
  notes->segments = notes->segments + 1;
}

void undo_file(const char *folder) {
  if (notes->folders == MOST_FOLDERS) give_up(EXIT_BROKEN, "too many folders to remove");
  snprintf(notes->folder[notes->folders], sizeof notes->folder[0], "%s", folder);
  notes->folders = notes->folders + 1;
}

static void remove_folder(const char *folder) {
  DIR *d = opendir(folder);
  if (!d) return;
  for (struct dirent *e; (e = readdir(d));)
    if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) unlinkat(dirfd(d), e->d_name, 0);
  closedir(d);
  rmdir(folder);
}

void undo_now(void) {
  while (notes->settings > 0) {
    int i = notes->settings - 1;
    write_value(notes->setting[i].path, notes->setting[i].old);
    notes->settings = i;
  }
  while (notes->segments > 0) {
    shmctl(notes->segment[notes->segments - 1], IPC_RMID, NULL); /* fails where an operation removed it */
    notes->segments = notes->segments - 1;
  }
  while (notes->folders > 0) {
    remove_folder(notes->folder[notes->folders - 1]);
    notes->folders = notes->folders - 1;
  }
}

static void keep(int pipe_end) {
  char c;
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  int nowhere = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; fd++) dup2(nowhere, fd);
  while (read(pipe_end, &c, 1) < 0 && errno == EINTR) {}
  undo_now();
  _exit(0);
}

void undo_start(void) {
  int ends[2];
  notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (notes == MAP_FAILED || pipe2(ends, O_CLOEXEC)) give_up(EXIT_BROKEN, "no memory for notes");
  recorder = getpid();
  keeper = fork();
  if (keeper < 0) give_up(EXIT_BROKEN, "fork: %s", strerror(errno));
  if (keeper == 0) {
    close(ends[1]);
    keep(ends[0]);
  }
  close(ends[0]);
  keeper_pipe = ends[1];
  atexit(undo_finish);
}

void undo_finish(void) {
  if (keeper_pipe < 0 || getpid() != recorder) return;
  tracees_end();
  close(keeper_pipe);
  keeper_pipe = -1;
  while (waitpid(keeper, NULL, 0) < 0 && errno == EINTR) {}
}
