/**
 * PowerPC book3s/32 (603, 604, 7xx, 74xx): Linux's two-level tables with 32-bit or 64-bit PTEs, and the hardware's hash table entries.
 * Sources: PowerPC Microprocessor Family: The Programming Environments for 32-Bit, chapter 7 (page table entry, SDR1); MPC7450 manual chapter 5 (extended
 * addressing); Linux arch/powerpc/include/asm/book3s/32/pgtable.h, arch/powerpc/mm/book3s32/hash_low.S.
 *
 * Invariants: hardware never reads the tables; their entries copy W, I, M, G to the places of a hash table entry. From Linux 6.7 on entries do not tell
 * user from kernel pages: everything below the kernel's half is the user's, and bit 2 says readable where it said user before.
 */
import { linuxBook3s32, swapBook3s32 } from './linux/powerpc-book3s32.ts';
import type { Allows, Fields, Form, HashTable32Format, Level, PagingMode, RootRegister } from './mode.ts';
import { pgdRoot } from './powerpc-common.ts';

const fields = (second: Fields, write: Fields): Fields => ({
  PRESENT: '0 present',
  HASHPTE: '1 an entry of the hash table exists for it',
  ...second,
  G: '3 guarded',
  M: '4 memory coherence required',
  I: '5 caching inhibited',
  W: '6 write-through required',
  DIRTY: '7 changed',
  ACCESSED: '8 referenced',
  EXEC: '9 executable (software)',
  ...write,
  SPECIAL: '11 special (software)',
});

const byRead = fields({ READ: '2 readable' }, { WRITE: '10 writable' });
const byUser = fields({ USER: '2 user' }, { WRITE: '10 writable' });

const allows = (read: string, user: string): Allows => ({ read, write: 'WRITE', exec: 'EXEC', user, dirty: 'DIRTY', accessed: 'ACCESSED' });

/** HASHPTE stays behind in entries that are otherwise empty; of 64-bit PTEs the low word alone is looked at. */
const noneForm: Form = { kind: 'none', name: 'empty', when: '&0xfffffffd=0', fields: { HASHPTE: byRead.HASHPTE } };

const pteForms = (address: Form['address']): Form[] => [
  noneForm,
  { kind: 'leaf', name: '4K page', kernel: '6.7..', when: 'PRESENT', fields: byRead, address, allows: allows('READ', '1') },
  { kind: 'leaf', name: '4K page', kernel: '..6.7', when: 'PRESENT', fields: byUser, address, allows: allows('1', 'USER') },
  { kind: 'nonpresent', name: 'swap-type entry', when: '!PRESENT', fields: { PRESENT: byRead.PRESENT, HASHPTE: byRead.HASHPTE } },
];

const pgd = (shift: number): Level => ({
  name: 'pgd',
  manual: 'page directory',
  shift,
  bits: 32 - shift,
  entryBytes: 4,
  forms: [
    { kind: 'none', name: 'empty', when: '&0xffffffff=0' },
    { kind: 'table', name: 'page table', when: '&0xfffff000!=0', address: [['31:12', 12]] },
  ],
});

const base = {
  family: 'powerpc',
  sources: ['The Programming Environments for 32-Bit Microprocessors, chapter 7', 'Linux arch/powerpc/include/asm/book3s/32/pgtable.h'],
  endian: 'big',
  pageShift: 12,
  vaBits: 32,
  specials: { hwpoison: false, migration: true, device: false, marker: false },
  linux: linuxBook3s32(),
  elfMachines: [20],
} as const;

/**
 * Where user space ends depends on the kernel's configuration: at 0xb0000000 where modules must not be executable (they lie above it), else at
 * PAGE_OFFSET. A process's own tables are empty above its end, so they are read up to PAGE_OFFSET; the kernel's are read from 0xb0000000 on.
 */
const roots = (shift: number): RootRegister[] => {
  const shape = { bits: 32 - shift, tableBytes: 2 ** (34 - shift), shift, byAddress: true };
  return [
    { ...pgdRoot(['swapper_pg_dir'], { ...shape, kernel: 0xb0000000n, doc: "physical address of the kernel's page directory" }), of: 'kernel' },
    pgdRoot(['pgd'], { ...shape, kernel: 0xc0000000n, doc: 'physical address of the page directory (thread.pgdir less 0xc0000000)' }),
  ];
};

export const book3s32Modes: readonly PagingMode[] = [
  {
    ...base,
    name: 'ppc-book3s32',
    title: 'PowerPC book3s/32 (hash table or software TLB), 32-bit PTEs',
    paBits: 32,
    levels: [pgd(22), { name: 'pte', manual: 'page table', shift: 12, bits: 10, entryBytes: 4, forms: pteForms([['31:12', 12]]), next: null }],
    roots: roots(22),
    swap: swapBook3s32(20),
  },
  {
    ...base,
    name: 'ppc-book3s32-pte64',
    title: 'PowerPC book3s/32 with 64-bit PTEs (36-bit physical addresses)',
    paBits: 36,
    levels: [pgd(21), { name: 'pte', manual: 'page table', shift: 12, bits: 9, entryBytes: 8, forms: pteForms([['35:12', 12]]), next: null }],
    roots: roots(21),
    swap: swapBook3s32(26),
  },
];

/** The hash table that SDR1 names: groups of eight 8-byte entries, the first word in the high half. */
export const hashTable32: HashTable32Format = {
  entryBytes: 8,
  groupEntries: 8,
  fields: {
    V: '63 valid',
    VSID: '62:39 virtual segment',
    H: '38 stands in its second group',
    API: '37:32 abbreviated page index: top 6 bits of 16',
    R: '8 referenced',
    C: '7 changed',
    W: '6 write-through required',
    I: '5 caching inhibited',
    M: '4 memory coherence required',
    G: '3 guarded',
    PP: '1:0 page protection: 0 supervisor only, 1 user reads, 2 user writes, 3 both read',
  },
  address: [
    ['31:12', 12],
    ['11:9', 33],
    ['2', 32],
  ],
  /** SDR1: HTABORG 31:16, HTABMASK 8:0 (extended addressing: 12:0), in units of 1024 groups. */
  sdr1: { origin: '31:16', mask: '12:0' },
  /** Linux: VSID of a segment in a context (mmu_context.h, CTX_TO_VSID). */
  vsid: { context: 897 * 16, segment: 0x111 },
};
