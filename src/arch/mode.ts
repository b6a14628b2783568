/**
 * What a paging mode declares. A mode is data: everything that pxd knows of an architecture's page tables stands in
 * objects of these types, and nothing outside `src/arch` knows a bit position.
 *
 * Three small notations keep the declarations readable; `src/pagetable/compile.ts` checks and compiles them:
 *
 * - **bits**: `'63'`, `'51:12'`, or several ranges joined by commas, most significant first (`'11:8,13'`). Bit 0 is the least
 *   significant bit of the entry as the CPU holds it; byte order in memory is the mode's `endian`.
 * - **condition** (`Condition`): alternatives joined by ` | `, each a list of atoms that must all hold. Atoms: `P` (field is not
 *   zero), `!P` (is zero), `TYPE=3`, `TYPE=1,3`, `TYPE!=3`, and on the raw word `&0xfff=0x63`, `&0xfff!=0x63` (mask, then value;
 *   an empty mask `&` is the whole word). `'1'` always holds, `'0'` never.
 * - **setting** (`Setting`): names of fields that become 1 (all of their bits), or `NAME=value`, separated by blanks; `&0x163` sets raw bits.
 *
 * Anything that changed between kernels carries a version range `from..until` (until is the first version that no longer has it;
 * either side may be empty): `'..6.5'`, `'6.5..'`.
 */

/** Linux's names of the levels, top down. Folded levels are simply absent from a mode's list. */
export type LevelName = 'pgd' | 'p4d' | 'pud' | 'pmd' | 'pte' | (string & {});

/** Every entry is exactly one of these (`none` empty, `nonpresent` software's own word, `table`, `leaf` maps memory, `hugepd` directory of huge entries). */
export type EntryKind = 'none' | 'nonpresent' | 'table' | 'leaf' | 'hugepd';

/** See the notations above. */
export type Bits = string;
export type Condition = string;
export type Setting = string;
/** `from..until`, kernel versions. */
export type Versions = string;

/**
 * Named bits of an entry: name → `'bits meaning'`. A field that moved between kernels has several strings, each with a leading
 * version range: `['..6.5 58 present but inaccessible', '6.5.. 11 present but inaccessible']`.
 */
export type Fields = Readonly<Record<string, string | readonly string[]>>;

/** Where the physical address stands in an entry: pieces `[bits of the entry, lowest address bit of that piece]`. */
export type AddressBits = readonly (readonly [Bits, number])[];

/**
 * What an entry allows. Of a leaf: what it grants. Of a table: what it lets pass to everything below (absent: everything).
 * The permission of a mapping is the conjunction over all levels of its path.
 */
export interface Allows {
  readonly read?: Condition;
  readonly write?: Condition;
  readonly exec?: Condition;
  /**
   * Execution by privileged code where a path tells the two apart (arm's PXN beside XN, PXNTable beside UXNTable): a leaf may be executed when either
   * holds all the way down. Absent: a table lets it pass, a leaf adds nothing to `exec`.
   */
  readonly execPrivileged?: Condition;
  readonly user?: Condition;
  /** Leaves only: what software reads from the entry, absent = never, but `present` absent = always. */
  readonly global?: Condition;
  readonly dirty?: Condition;
  readonly accessed?: Condition;
  /** False where the entry keeps its frame but nothing may be accessed through it (PROT_NONE, NUMA hint). */
  readonly present?: Condition;
}

/** A naturally aligned run of entries that together map one larger leaf. */
export interface Group {
  readonly when: Condition;
  /** Entries in the run; must be a power of two. */
  readonly entries: number;
  /**
   * How the address field runs over the entries: `advance` = each maps the next piece (arm64's contiguous bit), `same` = every entry holds the
   * address of the whole (Svnapot, after its size bits are taken off), `ignore` = low address bits mean nothing (8xx).
   */
  readonly address: 'advance' | 'same' | 'ignore';
  /** Bytes of the leaf that the run belongs to, when that is more than the run itself maps (8xx 8M: two tables). */
  readonly size?: number;
  /** Fields in which the entries of one run may differ (accessed and dirty), a setting without values. */
  readonly mayDiffer?: Setting;
  /** The first entry alone tells what `mayDiffer` names (book3s/64 hash with 4K pages: faults update that one only); absent: a bit set in any entry counts. */
  readonly decides?: 'first';
  /** The like, but the group has the bit only when every entry has it (arm64's read-only bit, which hardware clears in the entry that it writes through). */
  readonly mayClear?: Setting;
  /** The mark alone does not make a group (parisc: special pages carry the same bit): entries that are no complete run stand for themselves. */
  readonly optional?: boolean;
}

/** One form that an entry of a level may take. Forms are tried in order; the first whose condition holds is it. */
export interface Form {
  readonly kind: EntryKind;
  /** Name as in the manual, unique within the level. */
  readonly name: string;
  readonly when: Condition;
  readonly fields?: Fields;
  readonly address?: AddressBits;
  /** The address field is stored inverted (x86 entries that are not present, against L1TF). */
  readonly inverted?: boolean;
  /** A second copy of the address field, in the same order of bits (arm short descriptors, where software's word holds it too). Where it differs it counts as reserved bits. */
  readonly mirror?: Bits;
  readonly allows?: Allows;
  readonly groups?: readonly Group[];
  /** Bytes that one entry maps when that is not `1 << shift` of its level. */
  readonly size?: number;
  /** Tables: name of the level that the entry points to, when it is not the next one in the list. */
  readonly next?: LevelName;
  /**
   * Tables: which part of the table below exists, told by two fields of this entry in units of entries: [first * unit, (last + 1) * unit)
   * (s390's table offset and length). Absent: all of it.
   */
  readonly window?: { readonly first: Bits; readonly last: Bits; readonly unit: number };
  readonly kernel?: Versions;
  /** Bits that must be zero although no field names them are found by complement; these raw bits are exempt (ignored by hardware, free for software). */
  readonly ignored?: Bits;
}

export interface Level {
  readonly name: LevelName;
  /** The architecture's own name of this table ("PML4", "level 1", "segment table"). */
  readonly manual: string;
  /** log2 of the bytes that one entry spans. */
  readonly shift: number;
  /** Index bits: a full table has `1 << bits` entries. */
  readonly bits: number;
  /** Bytes of an entry: 4 or 8. */
  readonly entryBytes: 4 | 8;
  /** Bytes from one entry to the next where that is more than an entry (8xx with 16K pages). */
  readonly stride?: number;
  /** Bytes of a table as the kernel allocates it, when that is more than its entries take. */
  readonly tableBytes?: number;
  /**
   * A second word that software keeps beside each 4-byte entry, at this byte distance. The pair decodes as one 8-byte entry:
   * the word at the distance is the low half, the hardware's own the high half (arm short descriptors).
   */
  readonly companion?: number;
  readonly forms: readonly Form[];
  /** Level below when it is not the next in the list; `null` for the last. */
  readonly next?: LevelName | null;
}

/** An address range that a root translates: table indexes [from, to) of the root table appear at `va` upward. */
export interface RootRange {
  readonly half: 'user' | 'kernel';
  readonly va: bigint;
  readonly from: number;
  readonly to: number;
  /** Nothing here is open to user mode, whatever the entries say: the architecture tells user from kernel by the address. */
  readonly supervisor?: boolean;
  /** Only these addresses (`to` exclusive) are translated so, where an entry serves two places (mips: the end of XKSEG and CKSEG share a slot). */
  readonly window?: { readonly from: bigint; readonly to: bigint };
}

/** A resolved root: where a walk starts. */
export interface Root {
  /** Physical address of the top table, bytes. */
  readonly table: bigint;
  /** Level of the top table. */
  readonly level: LevelName;
  readonly ranges: readonly RootRange[];
  /** Where it came from, for people. */
  readonly label: string;
}

/** Values of registers by lower-case name, as the hardware holds them. */
export type Registers = Readonly<Record<string, bigint>>;

/** How a root register names a root. Not used in any loop, hence plain functions on bigints. */
export interface RootRegister {
  /** Lower-case name as in the manual (`cr3`, `ttbr0`, `satp`, …), then other spellings under which tools print it. */
  readonly names: readonly string[];
  /** Which half of the address space its tables serve; `both` where one table serves both. */
  readonly of: 'user' | 'kernel' | 'both';
  readonly doc: string;
  /** Where one address space has two roots, one for each processor mode (x86 page-table isolation): the address bit by which user mode's table differs. */
  readonly pairBit?: bigint;
  /** @throws {RangeError} with one sentence when the value cannot be a root of this mode. `others` holds further registers where known (TCR_EL1 …). */
  readonly resolve: (value: bigint, others: Registers) => Root;
}

/** A named part of the address space where the mode's layout is fixed. `end` is exclusive. */
export interface Region {
  readonly name: string;
  readonly start: bigint;
  readonly end: bigint;
  readonly kernel?: Versions;
}

/** Swap-type words: where type and offset stand, and the software bits beside them. */
export interface SwapLayout {
  readonly kernel?: Versions;
  /** Levels it holds for; absent: all. */
  readonly levels?: readonly LevelName[];
  readonly type: Bits;
  readonly offset: Bits;
  /** True where the offset is stored inverted (x86-64 and PAE, against L1TF). */
  readonly inverted?: boolean;
  /** Bits that every swap-type word carries (book3s/64 `_PAGE_PTE`, s390 invalid+protect …). */
  readonly always?: Setting;
  /** Software bits beside type and offset: name → bits. Names: exclusive, softDirty, uffdWp. */
  readonly flags?: Readonly<Record<string, Bits>>;
  /** Bits of a page frame number in a migration, device or hwpoison offset (Linux's SWP_PFN_BITS); accessed and dirty bits follow above it. */
  readonly pfnBits?: number;
}

/** One step of a software edit: where `when` holds (absent: always), clear then set. */
export interface EditStep {
  readonly when?: Condition;
  readonly clear?: Setting;
  readonly set?: Setting;
}

/** How the kernel maps writable data in a leaf of its own: the whole word but for the frame. */
export interface KernelLeaf {
  readonly level: LevelName;
  /** log2 of the bytes that such a leaf, or all leaves of such a run, map. */
  readonly shift: number;
  readonly set: Setting;
}

/**
 * Linux's own view of the entries: protections, edits and predicates under the kernel's names, so that
 * `encode` writes what the kernel would write and every predicate answers as the kernel's does.
 */
export interface LinuxSide {
  readonly kernel?: Versions;
  /** `PAGE_SHARED` … → setting. */
  readonly prots: Readonly<Record<string, Setting>>;
  /**
   * `pte_mkdirty` … → steps, on the level whose name the edit begins with (`pgprot_*`, `arch_make_huge_pte` and others work on `pte`).
   * An edit that depends on the size of the page has one entry a size: `arch_make_huge_pte shift=24`. `pte_modify` names what follows after the
   * protection was exchanged, `pte_modify before` what comes first. An edit that differs by level has one entry a level (`X@pud`), as
   * protections have. `pfn_pte` and its kin are edits too, where the kernel does more than put frame and protection together.
   */
  readonly edits: Readonly<Record<string, readonly EditStep[]>>;
  /** Bits (besides the address) that `pte_modify` and `pmd_modify` keep when they put a new protection in, by level. */
  readonly keeps: Readonly<Record<string, Setting>>;
  /** `pte_modify` takes from the new protection only the bits that it does not keep. */
  readonly masksProt?: boolean;
  /** `pte_dirty` … → condition, by level; `… @migration` at the end asks for a swap-type word of that kind too. Levels that are folded in this mode stand here too, with the constants that the kernel's folding headers give. */
  readonly predicates: Readonly<Record<string, Readonly<Record<string, Condition>>>>;
  /**
   * `pmd_populate` … → how a table entry for a table at a physical address is made: level, form, setting. `base` is what this entry adds to the
   * physical address where that is not the mode's `linearBase` (a hugepd that clears the top bit of a kernel pointer). `null`: the level is folded
   * at run time and nothing is written.
   */
  readonly populate: Readonly<Record<string, { readonly level: LevelName; readonly form: string; readonly set?: Setting; readonly base?: bigint } | null>>;
  /** Leaves of the kernel's map of RAM whose words are none that its operations on entries make. */
  readonly kernelLeaves?: readonly KernelLeaf[];
  /** Linux's constants where they differ from the level list (arm short descriptors count tables in pairs): `PTRS_PER_PGD`, `PGDIR_SHIFT` … */
  readonly geometry?: Readonly<Record<string, number>>;
}

/** Which optional kinds of special entries the kernel was built with: they decide how swap types are numbered. */
export interface SpecialTypes {
  readonly hwpoison: boolean;
  readonly migration: boolean;
  /** Device-private and device-exclusive memory; a version range where distributions turned it on. */
  readonly device: boolean | Versions;
  /** PTE markers before 6.2, which has them always; absent: yes. */
  readonly marker?: boolean;
}

/** A hashed page table of 32-bit PowerPC: what hardware reads instead of a tree. */
export interface HashTable32Format {
  readonly entryBytes: 8;
  readonly groupEntries: 8;
  /** Fields of an entry, its first word in the high half: V, VSID, H, API, PP and attributes. */
  readonly fields: Fields;
  readonly address: AddressBits;
  /** Where SDR1 holds the table's origin and the mask of its size. */
  readonly sdr1: { readonly origin: Bits; readonly mask: Bits };
  /** How Linux makes the VSID of a segment: context times one number plus segment times the other. */
  readonly vsid: { readonly context: number; readonly segment: number };
}

/** How a table pointer that is a kernel virtual address becomes physical: first rule whose masked value fits. */
export interface PointerRule {
  readonly mask: bigint;
  readonly value: bigint;
  /** Physical = (pointer & keep). */
  readonly keep: bigint;
}

export interface PagingMode {
  /** The name used by every command (`x86-4level`). */
  readonly name: string;
  readonly family: string;
  readonly title: string;
  /** Manuals (with section) and kernel files that the declaration follows. */
  readonly sources: readonly string[];
  /** Byte order of the entries in memory. */
  readonly endian: 'little' | 'big';
  readonly pageShift: number;
  /** Bits of a virtual address that are translated. */
  readonly vaBits: number;
  /** Bits of a physical address that an entry can hold. */
  readonly paBits: number;
  /** Real levels, top down. A root may start below the first. */
  readonly levels: readonly Level[];
  readonly roots: readonly RootRegister[];
  /** When table pointers are kernel virtual addresses. */
  readonly pointers?: readonly PointerRule[];
  /** Kernel virtual minus physical address of tables, added when such a pointer is written. */
  readonly linearBase?: bigint;
  /**
   * Unused slots are not zero but point to one empty table that all share (mips and loongarch: `invalid_pte_table`). A table that an image lacks
   * and that several slots share is taken for that one, and reads as empty.
   */
  readonly sharedEmpty?: boolean;
  /** Fixed layout of the address space, for naming ranges. */
  readonly regions?: readonly Region[];
  readonly swap: readonly SwapLayout[];
  /** What Debian's and the defconfig kernels of this architecture enable; a caller may override. */
  readonly specials: SpecialTypes;
  /** How Linux uses the entries; the first whose version range holds. Several where kernels differ. */
  readonly linux: readonly LinuxSide[];
  /** e_machine values of ELF dumps of this architecture. */
  readonly elfMachines: readonly number[];
}
