/**
 * Pins against copy on write, for huge pages of every size: the matrix of the kernel's selftests cow and gup_longterm (tools/testing/selftests/mm) with memfd hugetlb and with
 * anonymous huge pages, across the end of one huge page and the beginning of the next. The same for small pages and large folios: gup-fast-cow.test.ts.
 *
 * What is expected follows from what Linux promises of hugetlb. It differs from small pages in one thing: references that are no mappings do not keep a page from being
 * written to in place, so a pipe that a child has filled sees what the parent stores later, which the selftests expect to fail.
 */
import { describe, expect, it } from 'vitest';
import { allModes } from '../../src/arch/registry.ts';
import { randomNumbers } from '../../src/kernel/choose.ts';
import { codecFor } from '../../src/machine/boot.ts';
import { hugeSizes, poolOf } from '../../src/machine/boot-hugetlb.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { get } from '../../src/memory/heap.ts';
import { wordShift, words } from '../../src/memory/state.ts';
import { haveGupFast } from '../../src/mm/gup-fast.ts';
import { allocPageVector, FOLL_LONGTERM, FOLL_WRITE, freePageVector, PageVector } from '../../src/mm/gup-types.ts';
import { Hstate } from '../../src/mm/hugetlb-types.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Mm } from '../../src/mm/types.ts';
import { traced } from './support/traced.ts';

const NIGHTLY = process.env.PXD_NIGHTLY === '1';
const FOUR = ['x86-4level', 'arm64-4k-48', 's390x', 'ppc-8xx-4k'];
/** One case in so many is played; nightly all. */
const SHARE = NIGHTLY ? 1 : 120;
const SEED = 11;
/** PXD_SHARD=2/6 plays the second sixth. */
const [SHARD, SHARDS] = (process.env.PXD_SHARD ?? '1/1').split('/').map(Number);
/** Cases that follow one another in one machine: processes that have ended stay in it until they are waited for, and are looked at by each check. */
const TOGETHER = 16;
const POOL = 10;
const EFAULT = -14;

const KINDS = ['anon', 'memfd private', 'memfd shared'] as const;
type Kind = (typeof KINDS)[number];
/** As in gup-fast-cow.test.ts; `filled`: only read, of a file whose pages had been written to before. */
const STATES = ['missing', 'read', 'filled', 'written', 'mprotect', 'readonly', 'shared', 'left', 'orphaned', 'piped'] as const;
type State = (typeof STATES)[number];
const AFTER = ['nothing', 'fork', 'mprotect', 'unmap'] as const;

interface Case {
  readonly kind: Kind;
  readonly write: boolean;
  readonly fast: boolean;
  readonly longterm: boolean;
  readonly state: State;
  readonly after: (typeof AFTER)[number];
}

const sharedBy = (c: Case): boolean => c.kind === 'memfd shared';

type Way = 'fast' | 'slow' | 'fault' | 'reuse' | 'copy' | 'refused';

function wayOf(result: number, through: ReadonlySet<string>): Way {
  if (result < 0) return 'refused';
  if (through.has('hugetlbCopy')) return 'copy';
  if (through.has('hugetlbNoPage')) return 'fault';
  if (through.has('hugetlbWp')) return 'reuse';
  return through.has('followPageMask') ? 'slow' : 'fast';
}

function expectedWay(c: Case): Way {
  const { write, fast, longterm, state } = c;
  if (write && state === 'readonly') return 'refused';
  if (state === 'missing') return 'fault';
  const plain: Way = fast && haveGupFast() ? 'fast' : 'slow';
  // Who pins without a VMA takes a page that is not writable for one of a private mapping.
  if (sharedBy(c)) return state === 'readonly' && !write && longterm ? 'slow' : plain;
  switch (state) {
    case 'read':
    case 'mprotect':
      // Anonymous from the first access on, and the process's own, but not writable yet; a right that comes back is given by the next fault.
      return write ? 'reuse' : plain;
    case 'filled':
      return write || longterm ? 'copy' : plain;
    case 'shared':
      return 'copy';
    case 'left':
    case 'orphaned':
    case 'piped':
      return 'reuse';
    default:
      return plain;
  }
}

/** Whether the pin must see what the process stores later: all but a short look at a page of the file. */
const reliable = (c: Case): boolean => sharedBy(c) || c.write || c.longterm || c.state !== 'filled';

const say = (c: Case): string =>
  `${c.kind}, ${c.state}: ${c.write ? 'R/W' : 'R/O'} ${c.fast ? 'fast' : 'slow'}${c.longterm ? ' longterm' : ''} pin, then ${c.after}`;

class World {
  readonly machine: Machine;
  readonly kilobytes: number;
  readonly size: number;
  /** Base pages: the first of the mapping, of a huge page, and the first that is pinned. */
  readonly at: number;
  readonly span: number;
  readonly pinned: number;

  constructor(mode: string, kilobytes: number, booted?: Machine) {
    const bytes = kilobytes * 1024;
    this.machine = booted ?? new Machine({ mode, ramBytes: Math.max(2 ** 27, 16 * bytes) });
    this.machine.enter();
    this.kilobytes = kilobytes;
    this.size = this.machine.pageSize;
    this.span = bytes / this.size;
    if (booted === undefined) this.machine.kernel.setMaxHugePages(poolOf(kilobytes, this.machine.pageShift), POOL);
    const p = this.machine.spawn();
    this.at = Math.floor(get(p.mm, Mm.taskSize) / 4 / this.span) * this.span;
    p.exit();
    this.pinned = this.at + this.span - 1;
  }

  /** Pages of the pool, free and reserved ones. */
  pool(): number[] {
    this.machine.enter();
    const h = poolOf(this.kilobytes, this.machine.pageShift);
    return [get(h, Hstate.nr), get(h, Hstate.freePages), get(h, Hstate.resv)];
  }

  store(who: Process, value: number): void {
    for (let i = 0; i < 2; i++) expect(who.store(BigInt((this.pinned + i) * this.size), 4, BigInt(value + i))).toBeUndefined();
  }

  load(who: Process): number[] {
    return [0, 1].map((i) => Number(who.load(BigInt((this.pinned + i) * this.size), 4)));
  }

  content(vector: number): number[] {
    this.machine.enter();
    return Array.from({ length: get(vector, PageVector.count) }, (_, i) => words[get(vector, PageVector.pages + i) << wordShift]);
  }

  /** Puts what is pinned later into a pipe, by reference; what reads it. */
  splice(who: Process): () => number[] {
    const at = BUFFER * this.size;
    expect(who.syscall('pipe2', at, 0)).toBe(0);
    const [reader, writer] = [0, 4].map((offset) => Number(who.load(BigInt(at + offset), 4)));
    const wide = this.machine.codec.vaBits > 32 ? 8 : 4;
    who.store(BigInt(at), wide, BigInt(this.pinned * this.size));
    who.store(BigInt(at + wide), wide, BigInt(2 * this.size));
    expect(who.syscall('vmsplice', writer, at, 1, 0)).toBe(2 * this.size);
    return () => {
      expect(who.syscall('read', reader, at, 2 * this.size)).toBe(2 * this.size);
      return [0, 1].map((i) => Number(who.load(BigInt(at + i * this.size), 4)));
    };
  }
}
const BUFFER = 0x20;

/** Plays a case; what went wrong. */
function play(world: World, c: Case): string[] {
  const wrong: string[] = [];
  const check = (what: string, got: unknown, want: unknown): void => {
    if (JSON.stringify(got) !== JSON.stringify(want)) wrong.push(`${say(c)}: ${what}: ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);
  };
  const { machine, size, at, span } = world;
  const p = machine.spawn();
  const call = (who: Process, name: string, ...args: number[]): number => {
    const result = who.syscall(name, ...args) as number;
    if (result < 0) throw new Error(`${say(c)}: ${name} fails with errno ${-result}`);
    return result;
  };
  call(p, 'mmap', BUFFER * size, 4 * size, 3, 0x32, -1, 0);
  const log = (Math.log2(span) + machine.pageShift) << 26;
  let fd = -1;
  if (c.kind !== 'anon') {
    p.write(BigInt(BUFFER * size), new TextEncoder().encode('huge\0'));
    fd = call(p, 'memfd_create', BUFFER * size, 4 | log);
    call(p, 'ftruncate', fd, 2 * span * size);
  }
  const protect = (prot: number): number => call(p, 'mprotect', at * size, 2 * span * size, prot);
  const unmap = (who: Process): number => call(who, 'munmap', at * size, 2 * span * size);
  if (c.state === 'filled') {
    call(p, 'mmap', at * size, 2 * span * size, 3, 0x11, fd, 0);
    world.store(p, 100);
    unmap(p);
  }
  call(p, 'mmap', at * size, 2 * span * size, 3, 0x10 | (c.kind === 'anon' ? 0x40020 | log : 0) | (sharedBy(c) ? 1 : 2), fd, 0);
  const children: Process[] = [];
  let held: (() => number[]) | undefined;
  if (c.state === 'read' || c.state === 'filled') world.load(p);
  else if (c.state !== 'missing') world.store(p, 100);
  if (c.state === 'mprotect') [1, 3].forEach(protect);
  if (c.state === 'readonly') protect(1);
  if (c.state === 'shared' || c.state === 'left' || c.state === 'orphaned' || c.state === 'piped') {
    const child = p.fork();
    if (c.state === 'piped') held = world.splice(child);
    if (c.state === 'left' || c.state === 'piped') unmap(child);
    if (c.state === 'orphaned') child.exit();
    else children.push(child);
  }

  machine.enter();
  const vector = allocPageVector();
  const flags = (c.write ? FOLL_WRITE : 0) | (c.longterm ? FOLL_LONGTERM : 0);
  const { result, through } = traced(c.fast ? 'pinUserPagesFast' : 'pinUserPagesUnlocked', p.mm, world.pinned, 2, flags, vector);
  const way = expectedWay(c);
  check('way', wayOf(result, through), way);
  check('result', result, way === 'refused' ? EFAULT : 2);
  if (way === 'fast') check('no lock', through.has('mmapReadLock'), false);
  check('machine with pins', checkMachine({ roots: [vector] }), []);

  const asWritten = c.state === 'missing' || c.state === 'read' ? [0, 0] : [100, 101];
  check('content', world.load(p), asWritten);
  if (c.after === 'fork') children.push(p.fork());
  if (c.after === 'mprotect') [1, 3].forEach(protect);
  if (c.after === 'unmap') {
    unmap(p);
    if (result > 0) check('a pin outlives the mapping', world.content(vector), asWritten);
  } else if (c.state !== 'readonly' || c.after === 'mprotect') {
    world.store(p, 200);
    check('own store', world.load(p), [200, 201]);
    if (result > 0) check('through the pin', world.content(vector), reliable(c) ? [200, 201] : asWritten);
    for (const child of children) if (c.state !== 'left' && c.state !== 'piped') check('child', world.load(child), sharedBy(c) ? [200, 201] : asWritten);
    // Written to in place, whoever has a reference.
    if (c.state === 'piped') check('pipe', held?.(), [200, 201]);
    if (c.after === 'fork' && c.state !== 'piped') {
      world.store(children[children.length - 1], 300);
      check('own memory after a store of the child', world.load(p), sharedBy(c) ? [300, 301] : [200, 201]);
      if (result > 0 && reliable(c)) check('through the pin after it', world.content(vector), sharedBy(c) ? [300, 301] : [200, 201]);
    }
  }
  machine.enter();
  machine.kernel.unpinUserPages(vector, 0);
  freePageVector(vector);
  for (const child of children) child.exit();
  p.exit();
  check('pool afterwards', world.pool(), [POOL, POOL, 0]);
  check('machine without', checkMachine(), []);
  return wrong;
}

/** The cases of a kind, with the first size one of each way at least; there is no file whose pages could be there before behind anonymous memory. */
function casesOf(kind: Kind, nth: number): Case[] {
  const found: Case[] = [];
  for (const state of STATES)
    for (const write of [false, true])
      for (const fast of [true, false])
        for (const longterm of [false, true])
          for (const after of AFTER) if (kind !== 'anon' || state !== 'filled') found.push({ kind, write, fast, longterm, state, after });
  const chance = randomNumbers(SEED + 16 * nth + KINDS.indexOf(kind));
  const first = (c: Case): boolean => nth === 0 && found.find((other) => expectedWay(other) === expectedWay(c)) === c;
  return found.filter((c) => chance(SHARE) === 0 || first(c)).filter((_, i) => i % SHARDS === SHARD - 1);
}

const sizes = (NIGHTLY ? allModes().map(({ name }) => name) : FOUR).flatMap((mode) => {
  try {
    const codec = codecFor(mode);
    new Machine({ mode, ramBytes: 8192 * 2 ** codec.pageShift }).enter();
    return hugeSizes(codec)
      .map(({ order }) => ({ mode, kilobytes: 2 ** (order + codec.pageShift - 10) }))
      .filter(({ kilobytes }) => kilobytes <= (NIGHTLY ? 64 * 1024 : 2048));
  } catch {
    return [];
  }
});

describe('pins and copies of huge pages', () => {
  const reached = new Map<string, number>();

  it.each(sizes)(
    '$mode, memfd hugetlb ($kilobytes kB)',
    ({ mode, kilobytes }) => {
      const nth = sizes.findIndex((size) => size.mode === mode && size.kilobytes === kilobytes);
      const booted = new World(mode, kilobytes).machine;
      let world = new World(mode, kilobytes, booted);
      expect(world.pool()).toEqual([POOL, POOL, 0]);
      const wrong = KINDS.flatMap((kind) => casesOf(kind, nth)).flatMap((c, i) => {
        if (i % TOGETHER === 0) world = new World(mode, kilobytes, booted.clone());
        world.machine.enter();
        const key = `${sharedBy(c) ? 'shared' : 'private'} ${expectedWay(c)}`;
        reached.set(key, (reached.get(key) ?? 0) + 1);
        return play(world, c);
      });
      expect(wrong.slice(0, 10)).toEqual([]);
    },
    NIGHTLY ? 3_600_000 : 240_000,
  );

  it('have taken every way', () => {
    const ways = ['fast', 'slow', 'fault', 'reuse', 'copy', 'refused'].map((way) => `private ${way}`);
    for (const way of [...ways, 'shared fast', 'shared slow', 'shared fault', 'shared refused']) expect(reached.get(way) ?? 0, way).toBeGreaterThan(0);
  });
});
