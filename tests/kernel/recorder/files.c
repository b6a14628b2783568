/*
 * Names of files that do not change from run to run: memfd:N and shanon:N by order, tmpfs:x and disk:x by the name that the list
 * gives. A file is told by device and inode; a System V segment's inode is its id, so these are kept apart.
 */
#define _GNU_SOURCE
#include "recorder.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MOST_FILES 1024
static struct file {
  dev_t device;
  u64 inode;
  bool segment;
  enum file_kind kind;
  char name[64];
  s64 size_shown, pages_shown; /* -1: never */
  int seen;                    /* snapshot in which it was met */
} files[MOST_FILES];
static int file_count, snapshot_number;
static int memfds, shared_anonymous, huge_anonymous, sysv, others;
static char folder[2][128];

void files_reset(void) {
  file_count = memfds = shared_anonymous = huge_anonymous = sysv = others = 0;
  folder[0][0] = folder[1][0] = 0;
}

int new_memfd_number(void) { return memfds++; }

static struct file *find(dev_t device, u64 inode, bool segment) {
  for (int i = 0; i < file_count; i++)
    if (files[i].inode == inode && files[i].device == device && files[i].segment == segment) return &files[i];
  return NULL;
}

static struct file *add(dev_t device, u64 inode, bool segment, const char *name, enum file_kind kind) {
  struct file *f = find(device, inode, segment);
  if (f) return f;
  if (file_count == MOST_FILES) give_up(EXIT_INPUT, "a list makes more than %d files", MOST_FILES);
  f = &files[file_count++];
  *f = (struct file){.device = device, .inode = inode, .segment = segment, .kind = kind, .size_shown = -1, .pages_shown = -1};
  snprintf(f->name, sizeof f->name, "%s", name);
  return f;
}

static bool stat_of(struct tracee *t, int fd, struct stat *s) {
  char number[16];
  snprintf(number, sizeof number, "%d", fd);
  return fstatat(t->descriptors, number, s, 0) == 0;
}

void file_opened(struct tracee *t, int fd, const char *name, enum file_kind kind) {
  struct stat s;
  if (stat_of(t, fd, &s)) add(s.st_dev, s.st_ino, false, name, kind);
}

const char *file_name(unsigned major, unsigned minor, u64 inode, const char *path, bool *on_disk) {
  *on_disk = false;
  if (!inode && path[0] != '/') return path[0] ? path : "anon";
  bool segment = !strncmp(path, "/SYSV", 5);
  struct file *f = find(makedev(major, minor), inode, segment);
  if (!f) {
    char name[32];
    enum file_kind kind = SHMEM;
    if (!strncmp(path, "/dev/zero", 9)) snprintf(name, sizeof name, "shanon:%d", shared_anonymous++);
    else if (!strncmp(path, "/anon_hugepage", 14)) snprintf(name, sizeof name, "ahuge:%d", huge_anonymous++), kind = HUGETLB;
    else if (segment) snprintf(name, sizeof name, "sysv:%d", sysv++);
    else snprintf(name, sizeof name, "other:%d", others++), kind = DISK;
    f = add(makedev(major, minor), inode, segment, name, kind);
  }
  *on_disk = f->kind == DISK;
  return f->name;
}

const char *directory_of(char where) {
  bool disk = where != 'T';
  char *path = folder[disk];
  if (!*path) {
    snprintf(path, sizeof folder[0], "%s/pxd-recorder.%d", disk ? "/var/tmp" : "/dev/shm", getpid());
    undo_file(path);
    if (mkdir(path, 0700) && errno != EEXIST) give_up(EXIT_BROKEN, "%s: %s", path, strerror(errno));
  }
  return path;
}

/* Files that open descriptors lead to, where size or pages changed. Descriptors from 24 on are not looked at. */
void print_files(bool *first) {
  bool any = false;
  snapshot_number++;
  for (int i = 0; i < tracee_count; i++) {
    struct tracee *t = &tracees[i];
    if (!t->alive) continue;
    for (int fd = 0; fd < 24; fd++) {
      struct stat s;
      if (!(t->open_files >> fd & 1) || !stat_of(t, fd, &s)) continue;
      struct file *f = find(s.st_dev, s.st_ino, false);
      if (!f || f->seen == snapshot_number) continue;
      f->seen = snapshot_number;
      s64 pages = f->kind == DISK ? 0 : s.st_blocks / 8;
      if (f->size_shown == s.st_size && f->pages_shown == pages) continue;
      f->size_shown = s.st_size;
      f->pages_shown = pages;
      text_string(&out, any ? "," : *first ? "\"files\":{" : ",\"files\":{");
      text_format(&out, "\"%s\":{\"size\":%ld", f->name, (long)s.st_size);
      if (f->kind != DISK) text_format(&out, ",\"pages\":%ld", (long)pages);
      text_char(&out, '}');
      any = true;
    }
  }
  if (!any) return;
  text_char(&out, '}');
  *first = false;
}
