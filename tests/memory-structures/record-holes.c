/*
 * Asks the running kernel (x86-64) where it puts mappings: sequences of mmap() and munmap() in processes without randomisation, with what
 * mmap() returned. The output is replayed on our tree of VMAs by holes.test.ts.
 *
 *   gcc -O1 -static -o /tmp/record-holes record-holes.c && /tmp/record-holes > holes.txt
 *
 * Lines: `k RELEASE`; `n MODE` starts a sequence in a fresh process; `v START END GROWS` a VMA that is there (pages, hexadecimal);
 * `m PAGES KIND RESULT` a mapping asked for, with the page it got or 0 for ENOMEM; `f START PAGES` a mapping placed with MAP_FIXED;
 * `u START PAGES` an unmapping. KIND: bit 0 grows down, bit 1 hugetlb, bit 2 bottom-up below 2 GiB (MAP_32BIT).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define OPERATIONS 160
#define WINDOW 6000ul                       /* pages left free when a sequence starts with a full address space */
#define MMAP_BASE 0x7ffff7ffful             /* pages; stack limit of 8 MiB, no randomisation */

static char out[1 << 20];
static size_t used;
static unsigned long seed;

static void put(const char *format, unsigned long a, unsigned long b, unsigned long c)
{
	used += snprintf(out + used, sizeof(out) - used, format, a, b, c);
}

static unsigned long pick(unsigned long n)
{
	seed = seed * 6364136223846793005ul + 1442695040888963407ul;
	return (seed >> 33) % n;
}

static void flush_out(void)
{
	for (size_t at = 0; at < used;) {
		ssize_t n = write(1, out + at, used - at);
		if (n <= 0)
			_exit(1);
		at += n;
	}
	used = 0;
}

/* Reads the VMAs without allocating; with `fill`, closes every hole between them outside of [low, high). */
static void list_vmas(int fill, unsigned long low, unsigned long high)
{
	static char text[1 << 16];
	FILE *f = fopen("/proc/self/maps", "r");
	static char buffer[1 << 14];
	setvbuf(f, buffer, _IOFBF, sizeof(buffer));
	unsigned long end = 0x10;
	unsigned long holes[64][2];
	int n = 0;
	while (fgets(text, sizeof(text), f)) {
		unsigned long a, b;
		if (sscanf(text, "%lx-%lx", &a, &b) != 2)
			continue;
		a /= PAGE, b /= PAGE;
		if (a < 0x800000000ul) {
			int stack = 0;
			for (char *p = text; *p; p++)
				stack |= *p == '[' && p[1] == 's' && p[2] == 't';
			put("v %lx %lx %lu\n", a, b, stack);
			if (n < 64 && a > end)
				holes[n][0] = end, holes[n++][1] = a;
			end = b;
		}
	}
	fclose(f);
	for (int i = 0; fill && i < n; i++)
		for (int side = 0; side < 2; side++) {
			unsigned long a = holes[i][0], b = holes[i][1];
			if (side == 0 && b > low)
				b = low;
			if (side == 1 && a < high)
				a = high;
			if (a >= b || b > 0x7ffff7000ul + WINDOW * 0x10)
				continue;
			if (mmap((void *)(a * PAGE), (b - a) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED)
				put("f %lx %lx\n", a, b - a, 0);
		}
}

static void sequence(int mode)
{
	struct { unsigned long start, pages; } live[OPERATIONS];
	int n = 0;

	put("n %lu\n", mode, 0, 0);
	if (mode == 0)
		list_vmas(0, 0, 0);
	else if (mode == 1)                 /* the window of MAP_32BIT starts at 1 GiB */
		list_vmas(1, 0x40000ul, 0x40000ul + WINDOW);
	else                                /* only just below mmap_base is room */
		list_vmas(1, MMAP_BASE - WINDOW, MMAP_BASE);
	for (int i = 0; i < OPERATIONS; i++) {
		if (n > 0 && pick(5) < 2) {
			int which = pick(n);
			unsigned long skip = pick(2) ? 0 : pick(live[which].pages);
			unsigned long pages = pick(2) ? live[which].pages - skip : 1 + pick(live[which].pages - skip);
			unsigned long start = live[which].start + skip;
			if (munmap((void *)(start * PAGE), pages * PAGE) == 0) {
				put("u %lx %lx\n", start, pages, 0);
				live[which] = live[--n];
			}
			continue;
		}
		unsigned long kind = (pick(3) == 0 ? 1 : 0) | (pick(12) == 0 ? 2 : 0) | (mode == 1 || (mode == 0 && pick(4) == 0) ? 4 : 0);
		unsigned long pages = pick(3) ? 1 + pick(40) : 200 + pick(700);
		if (kind & 2)
			pages = 512, kind &= ~1ul;
		else if (pages % 512 == 0)  /* would be aligned for huge pages */
			pages++;
		int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (kind & 1 ? MAP_GROWSDOWN : 0) | (kind & 2 ? MAP_HUGETLB : 0) | (kind & 4 ? MAP_32BIT : 0);
		void *got = mmap(NULL, pages * PAGE, PROT_NONE, flags, -1, 0);
		if (got == MAP_FAILED && errno != ENOMEM)
			continue;
		unsigned long at = got == MAP_FAILED ? 0 : (unsigned long)got / PAGE;
		put("m %lx %lx %lx\n", pages, kind, at);
		/* Huge pages are unmapped in whole pages only: left alone. */
		if (at && !(kind & 2))
			live[n].start = at, live[n++].pages = pages;
	}
}

int main(int argc, char **argv)
{
	if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE)) {
		struct rlimit stack = { 8 << 20, 8 << 20 };
		setrlimit(RLIMIT_STACK, &stack);
		personality(ADDR_NO_RANDOMIZE);
		execv("/proc/self/exe", argv);
		return 1;
	}
	struct utsname name;
	uname(&name);
	used = snprintf(out, sizeof(out), "k %s\n", name.release);
	flush_out();
	int sequences = argc > 1 ? atoi(argv[1]) : 24;
	for (int i = 0; i < sequences; i++) {
		if (fork() == 0) {
			seed = 1 + i;
			sequence(i % 3);
			flush_out();
			_exit(0);
		}
		wait(NULL);
	}
	return 0;
}
