/* The running kernel's own times for the operations of mm.ts: prints "name nanoseconds" lines, the best of several rounds. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGES = 10000, CALLS = 2000, ROUNDS = 9 };
#define BASE ((char *)0x10000000)
#define SPOT ((char *)0x20000000)
#define FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static void map(char *at, size_t bytes) {
  if (mmap(at, bytes, PROT_READ | PROT_WRITE, FLAGS, -1, 0) != at) exit(1);
  madvise(at, bytes, MADV_NOHUGEPAGE);
}

int main(void) {
  double fault = 1e18, mapping = 1e18, forking = 1e18, protect = 1e18, middle = 1e18;
  for (int round = 0; round < ROUNDS; round++) {
    map(BASE, PAGES * 4096L);
    double t = now();
    for (long i = 0; i < PAGES; i++) *(volatile char *)(BASE + i * 4096) = 1;
    t = (now() - t) / PAGES;
    if (t < fault) fault = t;

    t = now();
    pid_t child = fork();
    if (child == 0) _exit(0);
    t = now() - t;
    if (t < forking) forking = t;
    waitpid(child, 0, 0);

    t = now();
    for (int i = 0; i < CALLS; i++) mprotect(BASE + 0x4000, 0x1000, i & 1 ? PROT_READ | PROT_WRITE : PROT_READ);
    t = (now() - t) / CALLS;
    if (t < middle) middle = t;
    munmap(BASE, PAGES * 4096L);

    t = now();
    for (int i = 0; i < CALLS; i++) {
      mmap(SPOT, 0x4000, PROT_READ | PROT_WRITE, FLAGS, -1, 0);
      munmap(SPOT, 0x4000);
    }
    t = (now() - t) / CALLS;
    if (t < mapping) mapping = t;

    map(SPOT, 0x4000);
    for (int i = 0; i < 4; i++) SPOT[i * 4096L] = 1;
    t = now();
    for (int i = 0; i < CALLS; i++) mprotect(SPOT, 0x4000, i & 1 ? PROT_READ | PROT_WRITE : PROT_READ);
    t = (now() - t) / CALLS;
    if (t < protect) protect = t;
    munmap(SPOT, 0x4000);
  }
  printf("fault %.1f\nmmap+munmap %.1f\nfork 10000 pages %.1f\nmprotect %.1f\nmprotect that splits %.1f\n", fault, mapping, forking, protect, middle);
  return 0;
}
