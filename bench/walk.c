/*
 * Reference walker: all leaves of one x86-64 4-level root out of an ELF core of physical memory, merged into extents.
 * Usage: walk FILE CR3 REPETITIONS. Prints: first_ms warm_ms leaves extents (warm = median of the repetitions after the first).
 * It does what pxd does for the user half: inherited rights, attribute comparison, physical and virtual contiguity.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct extent {
	uint64_t va, pa, bytes;
	uint32_t page, rights;
};

static const uint64_t **frames;
static uint64_t frame_count;
static struct extent *extents;
static size_t used, room;
static uint64_t leaves;

enum { W = 1, U = 2, X = 4, G = 8, D = 16, A = 32, P = 64 };

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void leaf(uint64_t va, uint64_t pa, uint32_t page, uint32_t rights)
{
	struct extent *last = extents + used - 1;

	leaves++;
	if (used && last->rights == rights && last->page == page && last->va + last->bytes == va && last->pa + last->bytes == pa) {
		last->bytes += page;
		return;
	}
	if (used == room) {
		room = room ? room * 2 : 4096;
		extents = realloc(extents, room * sizeof(*extents));
	}
	extents[used++] = (struct extent){ va, pa, page, page, rights };
}

static uint32_t rights_of(uint64_t e, uint32_t inherited)
{
	uint32_t own = (e & 2 ? W : 0) | (e & 4 ? U : 0) | (e >> 63 ? 0 : X);

	return (own & inherited) | (e & 256 ? G : 0) | (e & 64 ? D : 0) | (e & 32 ? A : 0) | P;
}

static void table(uint64_t pa, int shift, uint64_t va, uint32_t inherited, int entries)
{
	uint64_t frame = pa >> 12;
	const uint64_t *t = frame < frame_count ? frames[frame] : NULL;

	if (!t)
		return;
	for (int i = 0; i < entries; i++, va += 1ULL << shift) {
		uint64_t e = t[i];

		if (!(e & 1)) {
			/* present but inaccessible: the frame is stored inverted */
			if (shift == 12 && (e & 256) && (e & ~0x60ULL))
				leaf(va, ~e & 0xffffffffff000ULL, 4096, e & 4 ? U : 0);
			else if (shift == 21 && (e & 128))
				leaf(va, ~e & 0xfffffffe00000ULL, 1 << 21, e & 4 ? U : 0);
			continue;
		}
		if (shift == 12)
			leaf(va, e & 0xffffffffff000ULL, 4096, rights_of(e, inherited));
		else if (shift < 39 && (e & 128))
			leaf(va, e & 0xfffffffffe000ULL & ~((1ULL << shift) - 1), 1u << shift, rights_of(e, inherited));
		else
			table(e & 0xffffffffff000ULL, shift - 9, va, rights_of(e, inherited) & (W | U | X), 512);
	}
}

static int by_value(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return d < 0 ? -1 : d > 0;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	int fd = open(argv[1], O_RDONLY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st))
		return 2;
	const char *file = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	const Elf64_Ehdr *eh = (const void *)file;
	const Elf64_Phdr *ph = (const void *)(file + eh->e_phoff);
	for (int i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD && (ph[i].p_paddr + ph[i].p_filesz) >> 12 > frame_count)
			frame_count = (ph[i].p_paddr + ph[i].p_filesz) >> 12;
	frames = calloc(frame_count, sizeof(*frames));
	for (int i = 0; i < eh->e_phnum; i++)
		for (uint64_t o = 0; ph[i].p_type == PT_LOAD && o < ph[i].p_filesz; o += 4096) {
			void *copy = aligned_alloc(4096, 4096);
			memcpy(copy, file + ph[i].p_offset + o, 4096);
			frames[(ph[i].p_paddr + o) >> 12] = copy;
		}
	uint64_t root = strtoull(argv[2], NULL, 0);
	int n = atoi(argv[3]);
	double *times = calloc(n + 1, sizeof(double));
	for (int k = 0; k <= n; k++) {
		double t = now();
		used = 0, leaves = 0;
		table(root & 0xffffffffff000ULL, 39, 0, W | U | X, 256);
		times[k] = now() - t;
	}
	double first = times[0];
	qsort(times + 1, n, sizeof(double), by_value);
	printf("%.3f %.3f %llu %zu\n", first, times[1 + n / 2], (unsigned long long)leaves, used);
	return 0;
}
