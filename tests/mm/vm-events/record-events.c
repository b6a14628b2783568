/*
 * Asks the running kernel (x86-64, root) which events of huge pages it counts in /proc/vmstat: plays the operations that it reads and prints after each its result and the
 * counters that have grown. The output is replayed on our kernel by vm-events.test.ts. Nothing else on the machine may use huge pages meanwhile.
 *
 *   gcc -O1 -static -o /tmp/record-events record-events.c && /tmp/record-events < events.ops > ../fixtures/vm-events.txt
 *
 * Operations (M: number of a mapping, 1 GiB apart; pages of 4 KiB; PAGE is counted from the mapping's begin):
 *   anon M PAGES   shmem M PAGES (of a memfd, shared)   read M PAGE PAGES   write M PAGE PAGES   madvise M PAGE PAGES ADVICE   mprotect M PAGE PAGES PROT
 *   munmap M PAGE PAGES   truncate M PAGES   punch M PAGE PAGES   fork   exit (of the child that was forked last, which does nothing else)   zero ON (use_zero_page)
 * What a line says after `=` is left out, so that answers can be played again. shmem_enabled is `advise` meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define THP "/sys/kernel/mm/transparent_hugepage/"
#define PAGE 4096ul
#define COUNTERS 64

static int files[8];
static long counts[COUNTERS];

static char *at(long map, long page) { return (char *)0x100000000000ul + map * (1ul << 30) + page * PAGE; }

static void setting(const char *name, const char *value)
{
	char path[128];
	snprintf(path, sizeof path, THP "%s", name);
	int fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, value, strlen(value)) < 0) exit(3);
	close(fd);
}

/* What has grown since the last call; printed unless `quiet`. */
static void grown(int quiet)
{
	char name[64];
	long value;
	int n = 0;
	FILE *f = fopen("/proc/vmstat", "r");
	while (f && fscanf(f, "%63s %ld", name, &value) == 2) {
		if (strncmp(name, "thp_", 4) || !strncmp(name, "thp_swpout", 10) || n == COUNTERS) continue;
		if (!quiet && value != counts[n]) printf(" %s+%ld", name, value - counts[n]);
		counts[n++] = value;
	}
	fclose(f);
	if (!quiet) printf("\n");
}

static long touch(long map, long page, long pages, int write)
{
	for (long i = 0; i < pages; i++) {
		volatile char *p = at(map, page + i);
		if (write) *p = 1;
		else (void)*p;
	}
	return 0;
}

static long play(const char *op, long a, long b, long c, long d)
{
	static pid_t child;
	if (!strcmp(op, "anon")) return mmap(at(a, 0), b * PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -errno : 0;
	if (!strcmp(op, "shmem")) {
		files[a] = memfd_create("f", 0);
		if (ftruncate(files[a], b * PAGE)) return -errno;
		return mmap(at(a, 0), b * PAGE, 3, MAP_SHARED | MAP_FIXED, files[a], 0) == MAP_FAILED ? -errno : 0;
	}
	if (!strcmp(op, "read") || !strcmp(op, "write")) return touch(a, b, c, op[0] == 'w');
	if (!strcmp(op, "madvise")) return madvise(at(a, b), c * PAGE, d) ? -errno : 0;
	if (!strcmp(op, "mprotect")) return mprotect(at(a, b), c * PAGE, d) ? -errno : 0;
	if (!strcmp(op, "munmap")) return munmap(at(a, b), c * PAGE) ? -errno : 0;
	if (!strcmp(op, "truncate")) return ftruncate(files[a], b * PAGE) ? -errno : 0;
	if (!strcmp(op, "punch")) return fallocate(files[a], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, b * PAGE, c * PAGE) ? -errno : 0;
	if (!strcmp(op, "zero")) return setting("use_zero_page", a ? "1" : "0"), 0;
	if (!strcmp(op, "fork")) {
		child = fork();
		if (child == 0) for (;;) pause();
		return child < 0 ? -errno : 0;
	}
	if (!strcmp(op, "exit")) return kill(child, SIGKILL), waitpid(child, NULL, 0) == child ? 0 : -errno;
	fprintf(stderr, "%s?\n", op);
	exit(2);
}

int main(void)
{
	char line[256], op[32];
	/* Output is not buffered in memory that a child would inherit. */
	setvbuf(stdout, NULL, _IONBF, 0);
	setting("shmem_enabled", "advise");
	grown(1);
	while (fgets(line, sizeof line, stdin)) {
		long a = 0, b = 0, c = 0, d = 0;
		line[strcspn(line, "\n")] = 0;
		char *answer = strstr(line, " =");
		if (answer) *answer = 0;
		if (sscanf(line, "%31s %ld %ld %ld %ld", op, &a, &b, &c, &d) < 1 || op[0] == '#') {
			puts(line);
			continue;
		}
		long result = play(op, a, b, c, d);
		printf("%s = %ld", line, result);
		grown(0);
	}
	setting("use_zero_page", "1");
	setting("shmem_enabled", "never");
	return 0;
}
