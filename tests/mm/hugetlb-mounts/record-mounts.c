/*
 * Asks the running kernel (x86-64, root) what mounts of hugetlbfs with limits do: plays lists of operations and prints after each its result, the pool of 2 MiB pages
 * and what statfs() says of each mount. The output is replayed on our kernel by hugetlb-mounts.test.ts.
 *
 *   gcc -O1 -static -o /tmp/record-mounts record-mounts.c
 *   npx tsx lists.ts SEED COUNT | /tmp/record-mounts | gzip -9 > ../fixtures/hugetlb-mounts.txt.gz
 *
 * A list begins with `list PAGES OVERCOMMIT`. Operations (F, M: slots of files and mappings; sizes in bytes, pages are huge ones):
 *   mount N OPTIONS|-   umount N FLAGS   open N NAME FLAGS F   close F   unlink N NAME   trunc F BYTES   falloc F MODE OFFSET BYTES
 *   mmap F M PAGES PROT FLAGS PAGE   munmap M PAGE PAGES   touch M PAGE WRITE   madvise M PAGE PAGES ADVICE   pool PAGES   overcommit PAGES
 * Answers: `RESULT|nr free resv surplus|N type bsize blocks bfree bavail files ffree namelen|…`; of touch the signal. Mounts live in a namespace of their own; the pool is set back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define HUGE (2ul << 20)
#define MOUNTS 3

static int files[8], mounted[MOUNTS];
static sigjmp_buf back;

static void caught(int sig) { siglongjmp(back, sig); }
static char *at(int map) { return (char *)0x100000000000ul + map * (1ul << 30); }
static char *dir(int n) { static char path[32]; sprintf(path, "/mnt/huge%d", n); return path; }
static char *name_of(int n, const char *name) { static char path[160]; sprintf(path, "/mnt/huge%d/%s", n, name); return path; }

static long read_count(const char *name)
{
	char path[128], text[32] = "";
	snprintf(path, sizeof path, POOL "%s", name);
	int fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, 31) < 0) exit(3);
	close(fd);
	return strtoull(text, NULL, 10);
}

static void write_count(const char *name, long value)
{
	char path[128], text[32];
	snprintf(path, sizeof path, POOL "%s", name);
	int fd = open(path, O_WRONLY), n = sprintf(text, "%ld", value);
	if (fd < 0 || write(fd, text, n) < 0) exit(3);
	close(fd);
}

static long touch(char *place, int write)
{
	int sig = sigsetjmp(back, 1);
	if (sig) return sig;
	if (write) *(volatile char *)place = 1;
	else (void)*(volatile char *)place;
	return 0;
}

static void answer(long result)
{
	printf("%ld|%ld %ld %ld %ld", result, read_count("nr_hugepages"), read_count("free_hugepages"), read_count("resv_hugepages"), read_count("surplus_hugepages"));
	for (int n = 0; n < MOUNTS; n++) {
		struct statfs s;
		if (mounted[n] && statfs(dir(n), &s) == 0)
			printf("|%d %lx %ld %ld %ld %ld %ld %ld %ld", n, (long)s.f_type, (long)s.f_bsize, (long)s.f_blocks, (long)s.f_bfree, (long)s.f_bavail, (long)s.f_files,
				(long)s.f_ffree, (long)s.f_namelen);
	}
	putchar('\n');
}

static void play(char *line)
{
	char word[16], text[128];
	long a, b, c, d, e, f, r = -99;
	sscanf(line, "%15s", word);
	char *rest = line + strlen(word);
#define IS(w, n, format, ...) (!strcmp(word, w) && sscanf(rest, format, __VA_ARGS__) == n)
	errno = ENOENT;
	/* our directories are empty where nothing is mounted */
	if ((IS("open", 1, "%ld", &a) || IS("unlink", 1, "%ld", &a)) && !mounted[a]) r = -1;
	else if (IS("mount", 2, "%ld %127s", &a, text)) {
		r = mount("none", dir(a), "hugetlbfs", 0, text[0] == '-' ? "" : text);
		if (r == 0) mounted[a]++;
	} else if (IS("umount", 2, "%ld %ld", &a, &b)) {
		r = umount2(dir(a), b);
		if (r == 0) mounted[a]--;
	} else if (IS("open", 4, "%ld %127s %ld %ld", &a, text, &b, &c)) {
		r = open(name_of(a, text), b, 0600);
		if (r >= 0) files[c] = r, r = 0;
	} else if (IS("close", 1, "%ld", &a)) r = close(files[a]), files[a] = -1;
	else if (IS("unlink", 2, "%ld %127s", &a, text)) r = unlink(name_of(a, text));
	else if (IS("trunc", 2, "%ld %ld", &a, &b)) r = ftruncate(files[a], b);
	else if (IS("falloc", 4, "%ld %ld %ld %ld", &a, &b, &c, &d)) r = fallocate(files[a], b, c, d);
	else if (IS("mmap", 6, "%ld %ld %ld %ld %ld %ld", &a, &b, &c, &d, &e, &f))
		r = mmap(at(b), c * HUGE, d, e | MAP_FIXED, files[a], f * HUGE) == MAP_FAILED ? -1 : 0;
	else if (IS("munmap", 3, "%ld %ld %ld", &a, &b, &c)) r = munmap(at(a) + b * HUGE, c * HUGE);
	else if (IS("touch", 3, "%ld %ld %ld", &a, &b, &c)) r = touch(at(a) + b * HUGE, c);
	else if (IS("madvise", 4, "%ld %ld %ld %ld", &a, &b, &c, &d)) r = madvise(at(a) + b * HUGE, c * HUGE, d);
	else if (IS("pool", 1, "%ld", &a)) write_count("nr_hugepages", a), r = 0;
	else if (IS("overcommit", 1, "%ld", &a)) write_count("nr_overcommit_hugepages", a), r = 0;
	else exit(4);
	answer(r == -1 ? -errno : r);
}

static void list(char **lines, int count, long pages, long overcommit)
{
	write_count("nr_hugepages", pages);
	write_count("nr_overcommit_hugepages", overcommit);
	if (read_count("resv_hugepages") != 0 || read_count("nr_hugepages") != pages) exit(5);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("none", "/mnt", "tmpfs", 0, NULL)) exit(2);
		for (int n = 0; n < MOUNTS; n++) mkdir(dir(n), 0700);
		for (int i = 0; i < 8; i++) files[i] = -1;
		struct sigaction sa = { .sa_handler = caught };
		sigaction(SIGBUS, &sa, NULL);
		sigaction(SIGSEGV, &sa, NULL);
		for (int i = 0; i < count; i++) {
			printf("%s\n", lines[i]);
			play(lines[i]);
		}
		fflush(stdout);
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	if (status) exit(6);
	write_count("nr_hugepages", 0);
	for (int i = 0; i < 100 && read_count("resv_hugepages") != 0; i++) usleep(10000);
	if (read_count("resv_hugepages") != 0 || read_count("nr_hugepages") != 0) {
		fprintf(stderr, "left behind: %ld pages, %ld reserved\n", read_count("nr_hugepages"), read_count("resv_hugepages"));
		exit(7);
	}
}

static long before_pages, before_overcommit;
static void set_back(void) { write_count("nr_overcommit_hugepages", before_overcommit); write_count("nr_hugepages", before_pages); }

int main(void)
{
	static char *lines[1000];
	char line[256];
	int count = 0;
	long pages = 0, overcommit = 0;
	struct utsname name;
	int lock = open("/tmp/pxd-recorder.lock", O_RDWR | O_CREAT, 0666);
	if (lock < 0 || flock(lock, LOCK_EX)) return 2;
	if (read_count("resv_hugepages") != 0) return 5;
	before_pages = read_count("nr_hugepages");
	before_overcommit = read_count("nr_overcommit_hugepages");

	uname(&name);
	printf("# %s\n", name.release);

	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (line[0] == 0) continue;
		if (!strncmp(line, "list ", 5)) {
			if (count) list(lines, count, pages, overcommit);
			count = 0;
			sscanf(line, "list %ld %ld", &pages, &overcommit);
			printf("%s\n", line);
		} else lines[count++] = strdup(line);
	}
	if (count) list(lines, count, pages, overcommit);
	set_back();
	return 0;
}
