/**
 * VM_ flags by Linux's bit, and the two letters that VmFlags of /proc/PID/smaps has for them.
 *
 * Source: include/linux/mm.h, fs/proc/task_mmu.c (show_smap_vma_flags), Linux 6.18 on x86-64; VM_MAYBE_GUARD as 6.18 stable has it.
 * Invariant: ascending by bit; that is the order of VmFlags. Flags are kept as plain numbers: bits above 31 are tested by division.
 */

/** [bit, name, letters]. */
export const VM_BITS: readonly (readonly [bit: number, name: string, letters: string])[] = [
  [0, 'VM_READ', 'rd'],
  [1, 'VM_WRITE', 'wr'],
  [2, 'VM_EXEC', 'ex'],
  [3, 'VM_SHARED', 'sh'],
  [4, 'VM_MAYREAD', 'mr'],
  [5, 'VM_MAYWRITE', 'mw'],
  [6, 'VM_MAYEXEC', 'me'],
  [7, 'VM_MAYSHARE', 'ms'],
  [8, 'VM_GROWSDOWN', 'gd'],
  [9, 'VM_UFFD_MISSING', 'um'],
  [10, 'VM_PFNMAP', 'pf'],
  [11, 'VM_MAYBE_GUARD', 'gu'],
  [12, 'VM_UFFD_WP', 'uw'],
  [13, 'VM_LOCKED', 'lo'],
  [14, 'VM_IO', 'io'],
  [15, 'VM_SEQ_READ', 'sr'],
  [16, 'VM_RAND_READ', 'rr'],
  [17, 'VM_DONTCOPY', 'dc'],
  [18, 'VM_DONTEXPAND', 'de'],
  [19, 'VM_LOCKONFAULT', 'lf'],
  [20, 'VM_ACCOUNT', 'ac'],
  [21, 'VM_NORESERVE', 'nr'],
  [22, 'VM_HUGETLB', 'ht'],
  [23, 'VM_SYNC', 'sf'],
  [24, 'VM_ARCH_1', 'ar'],
  [25, 'VM_WIPEONFORK', 'wf'],
  [26, 'VM_DONTDUMP', 'dd'],
  [27, 'VM_SOFTDIRTY', 'sd'],
  [28, 'VM_MIXEDMAP', 'mm'],
  [29, 'VM_HUGEPAGE', 'hg'],
  [30, 'VM_NOHUGEPAGE', 'nh'],
  [31, 'VM_MERGEABLE', 'mg'],
  [37, 'VM_SHADOW_STACK', 'ss'],
  [40, 'VM_DROPPABLE', 'dp'],
  [41, 'VM_UFFD_MINOR', 'ui'],
  [42, 'VM_SEALED', 'sl'],
];

const VALUE_OF = new Map(VM_BITS.map(([bit, name]) => [name, 2 ** bit]));
const BIT_OF_LETTERS = new Map(VM_BITS.map(([bit, , letters]) => [letters, bit]));

/** Is Linux's bit `bit` set? Works above bit 31, where JavaScript's `&` does not. */
export const hasBit = (flags: number, bit: number): boolean => Math.floor(flags / 2 ** bit) % 2 === 1;

/** Is the flag of this name set? */
export function hasFlag(flags: number, name: string): boolean {
  const value = VALUE_OF.get(name);
  return value !== undefined && Math.floor(flags / value) % 2 === 1;
}

/** Machines have few different sums of flags, and every line of a snapshot asks for their letters. */
const MOST_KNOWN = 4096;
const known = new Map<number, readonly string[]>();

/** Letters of the flags that are set, in the order of VmFlags. */
export function flagLetters(flags: number): readonly string[] {
  let letters = known.get(flags);
  if (letters === undefined) {
    letters = VM_BITS.filter(([bit]) => hasBit(flags, bit)).map(([, , pair]) => pair);
    if (known.size >= MOST_KNOWN) known.clear();
    known.set(flags, letters);
  }
  return letters;
}

/** The flags that letters stand for; undefined where two letters are none. */
export function flagsFromLetters(letters: readonly string[]): number | undefined {
  let flags = 0;
  for (const pair of letters) {
    const bit = BIT_OF_LETTERS.get(pair);
    if (bit === undefined) return undefined;
    if (!hasBit(flags, bit)) flags += 2 ** bit;
  }
  return flags;
}
