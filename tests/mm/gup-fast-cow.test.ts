/**
 * Pins against copy on write, for small pages and large folios: what the kernel's selftests cow and gup_longterm (tools/testing/selftests/mm) assure, asked anew of every kind of
 * memory, in every state that a page can be in when it is pinned, by each way of pinning it.
 *
 * What is expected follows from what Linux promises, not from the code: a pin for writing, and a pin for reading that lasts, sees what the process writes
 * later; whoever shares a private page goes on seeing what it held when they parted; pages of files that want to hear of writes are not pinned for long,
 * for writing. Which way a pin takes follows from the state of the page; that it took it is told by the functions that it came through.
 */
import { describe, expect, it } from 'vitest';
import { loadEntry, spanPages } from '../../src/kernel/arch.ts';
import { randomNumbers } from '../../src/kernel/choose.ts';
import { codecFor } from '../../src/machine/boot.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { thpSetting } from '../../src/machine/thp-settings.ts';
import { compoundPages } from '../../src/memory/folio.ts';
import { get } from '../../src/memory/heap.ts';
import { pageRefcount, wordShift, words } from '../../src/memory/state.ts';
import { haveGupFast } from '../../src/mm/gup-fast.ts';
import { allocPageVector, FOLL_LONGTERM, FOLL_WRITE, freePageVector, PageVector } from '../../src/mm/gup-types.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { ptePage } from '../../src/mm/pgtable.ts';
import { PTE_GROUP, PTE_HUGE, PTE_PRESENT, PTE_TABLE } from '../../src/pagetable/canonical.ts';
import { traced } from './support/traced.ts';

const MODES = ['x86-4level', 'arm64-4k-48', 's390x', 'ppc-8xx-4k', 'arm-short'] as const;
const KINDS = ['anon', 'memfd', 'tmpfs', 'disk'] as const;
const [AT, NAME, BUFFER] = [0x10000, 0x20000, 0x20010];
const EFAULT = -14;
const PAGES = 2;

type Kind = (typeof KINDS)[number];

/** How the page comes to be what it is when it is pinned. */
const STATES = [
  'missing',
  'read',
  'written',
  /** Written, its rights taken away and given back. */
  'mprotect',
  /** Written, and of a mapping that may only be read by now. */
  'readonly',
  /** Written before a fork; the child lives. */
  'shared',
  /** Written before a fork; the child has unmapped it. */
  'left',
  /** Written before a fork; the child has ended. */
  'orphaned',
  /** Written before a fork; the child has put it into a pipe and unmapped it. */
  'piped',
] as const;
type State = (typeof STATES)[number];

/** What happens between the pin and the store of the process. */
const AFTER = ['nothing', 'fork', 'mprotect', 'unmap'] as const;
type After = (typeof AFTER)[number];

/**
 * What maps the pages: entries of single pages; one entry of a huge page; entries of the lowest level of such a page; a folio of the smallest order above; one whose
 * entries are a contiguous run (arm64).
 */
const SIZES = ['small', 'huge', 'split', 'large', 'contiguous'] as const;
type Size = (typeof SIZES)[number];

interface Case {
  readonly size: Size;
  readonly kind: Kind;
  readonly shared: boolean;
  readonly write: boolean;
  readonly fast: boolean;
  readonly longterm: boolean;
  readonly state: State;
  readonly after: After;
}

/** The way that a pin took, by what it came through; the last that fits. */
type Branch = 'fast' | 'slow' | 'fault' | 'reuse' | 'copy' | 'refused';

function branchOf(result: number, seen: ReadonlySet<string>): Branch {
  if (result < 0) return 'refused';
  if (seen.has('wpPageCopy')) return 'copy';
  if (seen.has('doWpPage')) return 'reuse';
  if (seen.has('faultinPage')) return 'fault';
  if (seen.has('followPageMask')) return 'slow';
  return 'fast';
}

/** The way that it must take (without locks where the mode can). */
function expectedBranch({ kind, shared, write, fast, longterm, state }: Case): Branch {
  if (write && longterm && shared && kind === 'disk') return 'refused';
  if (write && state === 'readonly') return 'refused';
  const plain: Branch = fast && haveGupFast() ? 'fast' : 'slow';
  const lookAgain = !write && longterm;
  if (shared) {
    if (state === 'missing') return 'fault';
    // A page of a disk that was only read is not writable: the file is told of the first write. Without a VMA a lasting pin cannot tell whose it is.
    if (kind === 'disk' && state === 'read') return write ? 'reuse' : lookAgain ? 'slow' : plain;
    // Not writable, and whoever pins without a VMA takes it for a page of a private mapping.
    if (state === 'readonly' && lookAgain) return 'slow';
    return plain;
  }
  switch (state) {
    case 'missing':
      return lookAgain ? 'copy' : 'fault';
    case 'read':
      // The zero page of anonymous memory is special, that of a file is the file's.
      if (write || lookAgain) return 'copy';
      return kind === 'anon' ? 'slow' : plain;
    case 'shared':
    case 'piped':
      return 'copy';
    case 'left':
    case 'orphaned':
      return 'reuse';
    default:
      return plain;
  }
}

/** Whether the pin must see what the process stores later. */
const reliable = ({ shared, write, longterm, state }: Case): boolean => shared || write || longterm || (state !== 'missing' && state !== 'read');

const say = (c: Case): string =>
  `${c.size === 'small' ? '' : `${c.size} `}${c.kind} ${c.shared ? 'shared' : 'private'}, ${c.state}: pin for ${c.write ? 'writing' : 'reading'}, ${c.fast ? 'fast' : 'slow'}${c.longterm ? ', long' : ''}; then ${c.after}`;

/** One process's world for one case. */
class World {
  readonly machine: Machine;
  readonly p: Process;
  readonly size: number;

  constructor(machine: Machine) {
    this.machine = machine;
    this.p = machine.spawn();
    this.size = machine.pageSize;
    this.call('mmap', NAME * this.size, 32 * this.size, 3, 0x32, -1, 0);
  }

  call(name: string, ...args: number[]): number {
    const result = (this.p.syscall as (name: string, ...args: number[]) => number).call(this.p, name, ...args);
    if (result < 0) throw new Error(`${name} fails with errno ${-result}`);
    return result;
  }

  /** Anonymous memory that is given large folios; of huge pages all, of which a part is looked at. */
  large(size: Size): void {
    this.machine.enter();
    const pmd = spanPages(1);
    const kb = (pages: number): number => (pages * this.size) / 1024;
    for (const [pages, on] of [
      [pmd, size === 'huge' || size === 'split'],
      [4, size === 'large'],
      [16, size === 'contiguous'],
    ] as const)
      thpSetting(`/sys/kernel/mm/transparent_hugepage/hugepages-${kb(pages)}kB/enabled`)?.write(on ? 'always' : 'never');
    this.call('mmap', AT * this.size, pmd * this.size, 3, 0x32, -1, 0);
    if (size === 'split') {
      // Another protection for a part, and back: the entry is split, the folio is not.
      expect(this.p.store(BigInt((AT + PAGES) * this.size), 4, 0n)).toBeUndefined();
      this.call('mprotect', (AT + PAGES) * this.size, this.size, 1);
      this.call('mprotect', (AT + PAGES) * this.size, this.size, 3);
    }
  }

  /** What maps the first page: an entry of the level above the lowest, or one of the lowest, of a folio of which order. */
  mappedBy(): string {
    this.machine.enter();
    const pmdp = traced('entryPointer', this.p.mm, AT, 1).result;
    const pmd = pmdp === 0 ? 0 : loadEntry(pmdp, 1);
    if ((pmd & PTE_HUGE) !== 0) return 'huge';
    const pte = (pmd & PTE_TABLE) === 0 ? 0 : loadEntry(traced('entryPointer', this.p.mm, AT, 0).result, 0);
    if ((pte & PTE_PRESENT) === 0) return 'nothing';
    if ((pte & PTE_GROUP) !== 0) return 'contiguous';
    const pages = compoundPages(ptePage(pte));
    return pages === spanPages(1) ? 'split' : pages > 1 ? 'large' : 'small';
  }

  file(kind: Kind): number {
    const text = kind === 'memfd' ? 'memory' : kind === 'tmpfs' ? '/dev/shm/pxd/gup' : '/var/tmp/pxd/gup';
    this.p.write(BigInt(NAME * this.size), new TextEncoder().encode(`${text}\0`));
    const fd = kind === 'memfd' ? this.call('memfd_create', NAME * this.size, 0) : this.call('open', NAME * this.size, 0o1102, 0o600);
    this.call('ftruncate', fd, PAGES * this.size);
    return fd;
  }

  store(value: number, who = this.p): void {
    for (let i = 0; i < PAGES; i++) expect(who.store(BigInt((AT + i) * this.size), 4, BigInt(value + i))).toBeUndefined();
  }

  load(who = this.p): number[] {
    return Array.from({ length: PAGES }, (_, i) => Number(who.load(BigInt((AT + i) * this.size), 4)));
  }

  protect(prot: number): void {
    this.call('mprotect', AT * this.size, PAGES * this.size, prot);
  }

  unmap(who = this.p): void {
    expect(who.syscall('munmap', AT * this.size, PAGES * this.size)).toBe(0);
  }

  /** Puts the range into a pipe by reference; what reads it. */
  splice(who: Process): () => number[] {
    const at = BUFFER * this.size;
    expect(who.syscall('pipe2', at, 0)).toBe(0);
    const reader = Number(who.load(BigInt(at), 4));
    const writer = Number(who.load(BigInt(at + 4), 4));
    const wide = this.machine.codec.vaBits > 32 ? 8 : 4;
    who.store(BigInt(at), wide, BigInt(AT * this.size));
    who.store(BigInt(at + wide), wide, BigInt(PAGES * this.size));
    expect(who.syscall('vmsplice', writer, at, 1, 0)).toBe(PAGES * this.size);
    return () => {
      expect(who.syscall('read', reader, at, PAGES * this.size)).toBe(PAGES * this.size);
      return Array.from({ length: PAGES }, (_, i) => Number(who.load(BigInt(at + i * this.size), 4)));
    };
  }
}

/** First words of pages, as the process would load them: bytes of RAM are as stored, lowest first, in every mode. */
function content(machine: Machine, vector: number): number[] {
  machine.enter();
  return Array.from({ length: get(vector, PageVector.count) }, (_, i) => words[get(vector, PageVector.pages + i) << wordShift]);
}

/** Plays a case; what went wrong. `met` is told how large folios were mapped when the pin came. */
function play(machine: Machine, c: Case, met: Set<string>): string[] {
  const wrong: string[] = [];
  const check = (what: string, got: unknown, want: unknown): void => {
    if (JSON.stringify(got) !== JSON.stringify(want)) wrong.push(`${say(c)}: ${what}: ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);
  };
  const world = new World(machine);
  const { p, size } = world;
  const { kernel } = machine;
  const children: Process[] = [];
  const fd = c.kind === 'anon' ? -1 : world.file(c.kind);
  if (c.size !== 'small') world.large(c.size);
  else world.call('mmap', AT * size, PAGES * size, 3, (c.kind === 'anon' ? 0x20 : 0) | (c.shared ? 1 : 2) | 0x10, fd, 0);
  let held: (() => number[]) | undefined;
  if (c.state === 'read') world.load();
  else if (c.state !== 'missing') world.store(100);
  if (c.state === 'mprotect') {
    world.protect(1);
    world.protect(3);
  }
  if (c.state === 'readonly') world.protect(1);
  if (c.state === 'shared' || c.state === 'left' || c.state === 'orphaned' || c.state === 'piped') {
    const child = p.fork();
    if (c.state === 'piped') held = world.splice(child);
    if (c.state === 'left' || c.state === 'piped') world.unmap(child);
    if (c.state === 'orphaned') child.exit();
    else children.push(child);
  }

  const form = c.size === 'small' ? 'small' : world.mappedBy();
  met.add(form);
  machine.enter();
  const vector = allocPageVector();
  const flags = (c.write ? FOLL_WRITE : 0) | (c.longterm ? FOLL_LONGTERM : 0);
  const { result, through } = traced(c.fast ? 'pinUserPagesFast' : 'pinUserPagesUnlocked', p.mm, AT, PAGES, flags, vector);
  const branch = expectedBranch(c);
  if (c.size === 'small') check('way', branchOf(result, through), branch);
  if (form === 'contiguous') {
    const way = branchOf(result, through);
    met.add(`contiguous ${way}`);
    // Who only looks, or finds that the pages are its own, leaves the run as it is; a copy, or a right for one of its pages, takes it apart.
    check('still a run', world.mappedBy() === 'contiguous', way === 'fast' || way === 'slow' || (way === 'reuse' && !c.write));
  }
  check('result', result, branch === 'refused' ? EFAULT : PAGES);
  check('pinned', get(vector, PageVector.count), branch === 'refused' ? 0 : PAGES);
  if (branch === 'fast' && c.size !== 'split') check('no lock', through.has('mmapReadLock'), false);
  else if (c.fast && haveGupFast() && c.state !== 'missing') check('tried without a lock', through.has('gupFastRange'), true);
  check('machine with pins', checkMachine({ roots: [vector] }), []);

  const before = world.load();
  const asWritten = c.state === 'missing' || c.state === 'read' ? [0, 0] : [100, 101];
  check('content', before, asWritten);
  if (c.after === 'fork') children.push(p.fork());
  if (c.after === 'mprotect') {
    world.protect(1);
    world.protect(3);
  }
  if (c.after === 'unmap') {
    world.unmap();
    if (result > 0) check('a pin outlives the mapping', content(machine, vector), asWritten);
  } else if (c.state !== 'readonly' || c.after === 'mprotect') {
    world.store(200);
    check('own store', world.load(), [200, 201]);
    if (result > 0 && reliable(c)) check('through the pin', content(machine, vector), [200, 201]);
    for (const child of children) if (c.state !== 'left' && c.state !== 'piped') check('child', world.load(child), c.shared ? [200, 201] : asWritten);
    if (c.state === 'piped') check('pipe', held?.(), c.shared ? [200, 201] : asWritten);
    // The other way round: a child's stores stay its own.
    if (c.after === 'fork' && c.state !== 'piped') {
      world.store(300, children[children.length - 1]);
      check('own memory after a store of the child', world.load(), c.shared ? [300, 301] : [200, 201]);
      if (result > 0 && reliable(c)) check('through the pin after it', content(machine, vector), c.shared ? [300, 301] : [200, 201]);
    }
  }
  machine.enter();
  kernel.unpinUserPages(vector, 0);
  freePageVector(vector);
  for (const child of children) child.exit();
  if (c.kind === 'tmpfs' || c.kind === 'disk') {
    p.write(BigInt(NAME * size), new TextEncoder().encode(`${c.kind === 'tmpfs' ? '/dev/shm/pxd/gup' : '/var/tmp/pxd/gup'}\0`));
    world.call('unlink', NAME * size);
  }
  p.exit();
  check('machine without', checkMachine(), []);
  return wrong;
}

/** One case in so many is played; PXD_NIGHTLY plays all. The seed says which. */
const SHARE = process.env.PXD_NIGHTLY ? 1 : 24;
const SEED = 5;
/** Cases that follow one another in one machine: processes that have ended stay in it until they are waited for, and are looked at by each check. */
const TOGETHER = 24;
/** All of it takes its time: PXD_SHARD=2/6 plays the second sixth. */
const [SHARD, SHARDS] = (process.env.PXD_SHARD ?? '1/1').split('/').map(Number);

/** Of contiguous runs those are played in any case that take each way. */
const RUN_STATES: readonly State[] = ['written', 'shared', 'orphaned'];

/** Modes whose entries of the pmd level map memory. */
const hasHuge = (mode: string): boolean => codecFor(mode)?.levels.some((level) => level.name === 'pmd' && level.leaves) === true;

/** Modes that map large folios by contiguous runs. */
const hasRuns = (mode: string): boolean => mode.startsWith('arm64');

/** The cases of a kind of memory that are played. */
function casesOf(kind: Kind, shared: boolean, size: Size): Case[] {
  const found: Case[] = [];
  for (const state of STATES)
    for (const write of [false, true])
      for (const fast of [true, false])
        for (const longterm of [false, true]) for (const after of AFTER) found.push({ size, kind, shared, write, fast, longterm, state, after });
  const chance = randomNumbers(SEED + 16 * SIZES.indexOf(size) + 2 * KINDS.indexOf(kind) + (shared ? 1 : 0));
  const chosen = found.filter((c) => chance(SHARE) === 0 || (size === 'contiguous' && c.after === 'nothing' && RUN_STATES.includes(c.state)));
  return chosen.filter((_, i) => i % SHARDS === SHARD - 1);
}

describe.each(MODES)('pins and copies in %s', (mode) => {
  const reached = new Map<Branch, number>();
  const met = new Set<string>();
  const booted = new Machine({ mode, ramBytes: 16 * 2 ** 20 });
  const used = (): number => pageRefcount.reduce((sum, count) => sum + (count > 0 ? 1 : 0), 0);

  const small = KINDS.flatMap((kind) => [[kind, 'private', 'small'] as const, [kind, 'shared', 'small'] as const]);
  const sized = hasHuge(mode)
    ? SIZES.filter((size) => size !== 'small' && (size !== 'contiguous' || hasRuns(mode))).map((size) => ['anon', 'private', size] as const)
    : [];
  it.each([...small, ...sized])(
    '%s %s %s',
    (kind, sharing, size) => {
      const cases = casesOf(kind, sharing === 'shared', size);
      let machine = booted;
      let most = 0;
      const wrong: string[] = [];
      cases.forEach((c, i) => {
        if (i % TOGETHER === 0) {
          machine = booted.clone();
          machine.enter();
          most = used() + 8;
        }
        machine.enter();
        const branch = expectedBranch(c);
        if (size === 'small') reached.set(branch, (reached.get(branch) ?? 0) + 1);
        wrong.push(...play(machine, c, met));
        machine.enter();
        // Page caches of files that were unlinked went with them.
        if (used() > most) wrong.push(`${say(c)}: ${used() - most} pages more than there may be`);
      });
      expect(wrong.slice(0, 10)).toEqual([]);
    },
    process.env.PXD_NIGHTLY ? 3_600_000 : 240_000,
  );

  it('has met large folios in every form', () => {
    for (const form of hasHuge(mode) ? ['huge', 'split', 'large'] : []) expect(met).toContain(form);
    for (const way of hasRuns(mode) ? ['fast', 'slow', 'copy'] : []) expect(met).toContain(`contiguous ${way}`);
  });

  it('has taken every way', () => {
    booted.enter();
    const ways: Branch[] = ['slow', 'fault', 'reuse', 'copy', 'refused'];
    for (const branch of haveGupFast() ? [...ways, 'fast' as const] : ways) expect(reached.get(branch) ?? 0, branch).toBeGreaterThan(0);
  });
});
