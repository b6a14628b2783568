/**
 * An image together with what is needed to read its page tables: the paging mode, the kernel's version, and the address spaces whose roots are known.
 *
 * Each of these comes from the first source that has it (what the user said, what the file says of itself, what can be worked out), and the
 * sentence that says which one stays with it: nobody should have to trust a guess that does not call itself one.
 *
 * Invariants: every root in `spaces` was accepted by its mode's root register; `chosen` is never empty; a session holds no state but the cache of
 * tables, so any number of commands may share it.
 */
import type { PagingMode, Registers, Root } from '../arch/mode.ts';
import { versionNumber } from '../arch/notation.ts';
import { findMode, modeNames } from '../arch/registry.ts';
import { printable } from '../image/bytes.ts';
import type { Image } from '../image/image.ts';
import type { RootEntry } from '../image/roots.ts';
import { type CompiledMode, compileMode, DEFAULT_KERNEL } from '../pagetable/compile.ts';
import { PxdError } from '../pagetable/error.ts';
import type { ExtentOptions } from '../pagetable/extents.ts';
import { rootRegisters } from '../pagetable/root.ts';
import { type PageTables, readPageTables } from '../pagetable/tree.ts';
import { type GuessedMode, guessMode } from './guess-mode.ts';
import { kernelRegisters } from './kernel-root.ts';
import { type ScannedRoot, scanRoots } from './scan.ts';

export type Half = 'user' | 'kernel';

/** How sure a root is: told by the user or the machine, worked out from facts, or inferred from structure. */
export type Confidence = 'given' | 'derived' | 'likely' | 'guess';

/** One address space: a process on one CPU mode, a CPU at the moment of the dump, or the kernel itself. */
export interface AddressSpace {
  /** For people: `pid 79 pxd-hog (user mode)`. */
  readonly name: string;
  readonly pid?: number;
  readonly comm?: string;
  /** Mode of the CPU when the root was read. */
  readonly cpuMode?: Half;
  /** One root where one table serves both halves, otherwise the user's then the kernel's. */
  readonly roots: readonly Root[];
  readonly registers: Registers;
  /** Where the root came from. */
  readonly evidence: string;
  readonly confidence: Confidence;
}

/** What a file or folder brings along beside the image itself. */
export interface Surroundings {
  /** How to call the image in messages. */
  readonly name: string;
  readonly roots?: readonly RootEntry[];
  /** meta.json: the mode's name and the kernel's release. */
  readonly mode?: string;
  readonly kernel?: string;
}

/** What the user asked for; everything optional. */
export interface Choice {
  readonly mode?: string;
  readonly kernel?: string;
  /** Root registers by value; without a register name the mode's own for the asked half. */
  readonly root?: readonly { readonly register?: string; readonly value: bigint }[];
  readonly pid?: number;
  /** The process to take when no other choice is made, where it is known. */
  readonly preferPid?: number;
  /** Which of a process's roots: the one that user mode ran on, or the kernel's. */
  readonly of?: Half;
  /** A roots file given beside the image. */
  readonly roots?: readonly RootEntry[];
  /** Only this half of the address space. */
  readonly half?: Half;
  /** Only these byte addresses, [start, end). */
  readonly range?: { readonly start: bigint; readonly end: bigint };
  /** Look for root tables by structure even where some are known. */
  readonly scan?: boolean;
  /** Hears of the share of a scan that is done. */
  readonly progress?: (share: number) => void;
}

export interface Session {
  readonly name: string;
  readonly image: Image;
  readonly mode: CompiledMode;
  readonly modeEvidence: string;
  readonly kernelEvidence: string;
  /** Every address space that is known, in the order of the source that names them. */
  readonly spaces: readonly AddressSpace[];
  /** The ones that the user asked for; the first known one when he did not. */
  readonly chosen: readonly AddressSpace[];
  /** True when the user named what is in `chosen`. */
  readonly asked: boolean;
  /** The user's `half` and `range`, as the extent functions take them. */
  readonly limits: Pick<ExtentOptions, 'half' | 'range'>;
  /** Things worth telling, a sentence each. */
  readonly remarks: readonly string[];
}

/** Puts a session together. @throws {PxdError} when no mode or no root can be found, or what was asked for does not exist. */
export function openSession(image: Image, around: Surroundings, choice: Choice = {}): Session {
  const remarks: string[] = [];
  const guessed = modeOf(image, around, choice);
  const { kernel, evidence: kernelEvidence } = kernelOf(image, around, choice);
  const { mode, spaces, evidence: modeEvidence } = settle(guessed, kernel, image, around, choice, remarks);
  const chosen = choose(spaces, choice, printable(around.name));
  return {
    name: printable(around.name),
    image,
    mode,
    modeEvidence,
    kernelEvidence,
    spaces,
    chosen,
    asked: choice.root !== undefined || choice.pid !== undefined,
    limits: {
      ...(choice.half ? { half: choice.half } : {}),
      ...(choice.range ? { range: pageRange(choice.range, mode.mode.pageShift) } : {}),
    },
    remarks,
  };
}

interface Settled {
  readonly mode: CompiledMode;
  readonly spaces: readonly AddressSpace[];
  readonly evidence: string;
}

/** Mode and address spaces; where the mode is one of several, the one under which most tables are found. */
function settle(guessed: GuessedMode, kernel: string, image: Image, around: Surroundings, choice: Choice, remarks: string[]): Settled {
  const mode = compile(declaredMode(guessed.name, guessed.evidence), kernel);
  const spaces = knownSpaces(mode, image, around, choice, remarks);
  const processes = spaces.some((s) => s.pid !== 0);
  if (processes && choice.scan !== true) return { mode, spaces, evidence: guessed.evidence };
  const frames = image.segments.reduce((n, s) => n + s.frames, 0);
  if (spaces.length > 0 && choice.scan !== true && frames > SCANNED_FRAMES) {
    remarks.push("only the kernel's own root is known; --scan looks for those of processes");
    return { mode, spaces, evidence: guessed.evidence };
  }
  const found = scanRoots(mode, image, choice.progress);
  let best: Settled = { mode, spaces: [...spaces, ...scannedSpaces(found, spaces)], evidence: guessed.evidence };
  let most = explained(found);
  if (spaces.length === 0)
    for (const name of guessed.others) {
      const other = compile(declaredMode(name, guessed.evidence), kernel);
      const roots = scanRoots(other, image, choice.progress);
      if (explained(roots) <= most) continue;
      most = explained(roots);
      best = {
        mode: other,
        spaces: scannedSpaces(roots, []),
        evidence: `${guessed.evidence}; of its modes this one explains most of what looks like page tables`,
      };
    }
  if (best.spaces.length > 0) return best;
  throw new PxdError(
    'unknown',
    `${printable(around.name)}: no root of ${mode.mode.name} page tables is known: neither the image's notes nor a list of roots names one and no table in it looks like one; give --root ${mode.mode.roots[0]?.names[0] ?? ''}=VALUE`,
  );
}

/** Up to 1 GiB of frames is looked through without being asked when only the kernel's root is known. */
const SCANNED_FRAMES = 262_144;

const explained = (roots: readonly ScannedRoot[]): number => roots.reduce((n, r) => n + r.leaves, 0);

function declaredMode(name: string, evidence: string): PagingMode {
  const declared = findMode(name);
  if (declared) return declared;
  throw new PxdError(
    'unknown',
    `there is no paging mode "${printable(name, 40)}" (${evidence}); "pxd modes" lists the ${modeNames().length} there are${similar(name)}`,
  );
}

function scannedSpaces(found: readonly ScannedRoot[], known: readonly AddressSpace[]): AddressSpace[] {
  const tables = new Set(known.flatMap((s) => s.roots.map((r) => r.table)));
  const own = known.find((s) => s.pid === 0);
  const spaces = found
    .filter((r) => !tables.has(r.root.table))
    .map(
      ({ root, registers, evidence, confidence }): AddressSpace => ({
        name: `table at 0x${root.table.toString(16)}`,
        roots: [root],
        registers,
        evidence,
        confidence,
      }),
    );
  return own ? withKernel([...spaces, own]).slice(0, -1) : spaces;
}

function compile(declared: Parameters<typeof compileMode>[0], kernel: string): CompiledMode {
  try {
    versionNumber(kernel);
  } catch (e) {
    throw new PxdError('usage', (e as Error).message);
  }
  return compileMode(declared, kernel);
}

function similar(name: string): string {
  const first = name.split('-')[0].toLowerCase();
  const near = modeNames().filter((m) => m.startsWith(first) || (first.length > 2 && m.includes(first)));
  return near.length > 0 ? `, for example ${near.slice(0, 8).join(', ')}` : '';
}

function modeOf(image: Image, around: Surroundings, choice: Choice): GuessedMode {
  if (choice.mode !== undefined) return { name: choice.mode, evidence: 'as asked for', others: [] };
  if (image.capture?.mode !== undefined) return { name: image.capture.mode, evidence: 'the capture says so', others: [] };
  if (around.mode !== undefined) return { name: around.mode, evidence: 'meta.json says so', others: [] };
  return guessMode(
    image,
    around.name,
    (choice.roots ?? around.roots ?? []).map((entry) => entry.registers),
  );
}

function kernelOf(image: Image, around: Surroundings, choice: Choice): { kernel: string; evidence: string } {
  if (choice.kernel !== undefined) return { kernel: choice.kernel, evidence: 'as asked for' };
  const told: readonly [string | undefined, string][] = [
    [image.capture?.kernel, 'the capture says so'],
    [image.kernelRelease, 'the image says so (OSRELEASE)'],
    [around.kernel, 'meta.json says so'],
  ];
  // A release that begins with no version tells nothing.
  const found = told.find(([kernel]) => kernel !== undefined && /^v?\d+\.\d+/.test(kernel));
  if (found?.[0] !== undefined) return { kernel: printable(found[0], 80), evidence: found[1] };
  return { kernel: DEFAULT_KERNEL, evidence: `nothing tells it: entries are read as Linux ${DEFAULT_KERNEL} writes them (--kernel VERSION changes that)` };
}

const pageRange = (range: { start: bigint; end: bigint }, pageShift: number): { from: number; to: number } => ({
  from: Number(range.start >> BigInt(pageShift)),
  to: Number((range.end + (1n << BigInt(pageShift)) - 1n) >> BigInt(pageShift)),
});

// ---- address spaces ----

/** Address spaces that someone names: the user, a list, the CPUs' notes, VMCOREINFO. */
function knownSpaces(mode: CompiledMode, image: Image, around: Surroundings, choice: Choice, remarks: string[]): AddressSpace[] {
  if (choice.root !== undefined && choice.root.length > 0) return givenSpaces(mode, choice);
  const spaces: AddressSpace[] = [];
  const lists: [readonly RootEntry[] | undefined, string][] = [
    [choice.roots, 'the roots file'],
    [image.capture?.roots, 'the capture'],
    [around.roots, 'roots.json'],
  ];
  const listed = lists.find(([list]) => list !== undefined && list.length > 0);
  if (listed?.[0]) for (const entry of listed[0]) addTo(spaces, listedSpace(mode, entry, listed[1], remarks));
  if (choice.roots !== undefined && choice.roots.length > 0 && spaces.length === 0) {
    const names = Object.keys(choice.roots[0].registers);
    throw new PxdError(
      'usage',
      `the roots file gives no root of ${mode.mode.name}: expected ${mode.mode.roots.map((r) => r.names[0]).join(', ')}, its first entry has ${printable(names.slice(0, 8).join(', ') || 'no register', 120)}`,
    );
  }
  if (!listed) for (const cpu of image.notes.cpus) addTo(spaces, cpuSpace(mode, image, cpu.cpu, cpu.pid, cpu.registers, remarks));
  if (!spaces.some((s) => s.pid === 0)) addTo(spaces, kernelSpace(mode, image));
  return withKernel(spaces);
}

/** Where the kernel's half hangs on a register of its own that the process's record lacks, the kernel's own record has it. */
function withKernel(spaces: readonly AddressSpace[]): AddressSpace[] {
  const has = (s: AddressSpace): boolean => s.roots.some((root) => root.ranges.some((r) => r.half === 'kernel'));
  const own = spaces.find((s) => s.pid === 0)?.roots.filter((root) => root.ranges.every((r) => r.half === 'kernel')) ?? [];
  return spaces.map((s) => (has(s) || own.length === 0 ? s : { ...s, roots: [...s.roots, ...own] }));
}

const addTo = (spaces: AddressSpace[], space: AddressSpace | undefined): void => {
  if (space) spaces.push(space);
};

/** Resolves a register, as a sentence in place of what it throws. */
function resolve(found: ReturnType<typeof rootRegisters>[number], registers: Registers): Root {
  try {
    return found.register.resolve(found.value, registers);
  } catch (e) {
    if (e instanceof RangeError) throw new PxdError('usage', `${found.register.names[0]} 0x${found.value.toString(16)}: ${e.message}`);
    throw e;
  }
}

/**
 * Roots of both halves out of one set of registers; a register that serves both gives one root. A register that serves one half need not make sense for
 * the other, where it only stands for lack of a better one (the process-table entry of a process has no kernel addresses).
 */
export function rootsOfRegisters(mode: CompiledMode, registers: Registers, halves: readonly Half[] = ['user', 'kernel']): Root[] {
  const used: ReturnType<typeof rootRegisters> = [];
  const roots: Root[] = [];
  for (const half of halves) {
    const [found] = rootRegisters(mode, registers, half);
    if (!found || roots.some((root) => root.ranges.some((r) => r.half === half))) continue;
    if (used.some((u) => u.register === found.register)) continue;
    try {
      roots.push(resolve(found, registers));
      used.push(found);
    } catch (e) {
      if (!used.some((u) => u.value === found.value)) throw e;
    }
  }
  return roots;
}

function listedSpace(mode: CompiledMode, entry: RootEntry, source: string, remarks: string[]): AddressSpace | undefined {
  const name = entry.pid === 0 ? 'kernel' : `pid ${entry.pid}${entry.comm ? ` ${entry.comm}` : ''} (${entry.mode} mode)`;
  const roots = tryRoots(mode, entry.registers, name, remarks, entry.pid === 0 ? ['kernel'] : undefined);
  if (roots.length === 0) return undefined;
  return {
    name,
    pid: entry.pid,
    comm: entry.comm,
    cpuMode: entry.mode,
    roots,
    registers: entry.registers,
    evidence: `${source}${entry.how ? `: ${entry.how}` : ''}`,
    confidence: entry.how ? 'derived' : 'given',
  };
}

function cpuSpace(mode: CompiledMode, image: Image, cpu: number, pid: number | undefined, registers: Registers, remarks: string[]): AddressSpace | undefined {
  const named = tryRoots(mode, registers, `CPU ${cpu}`, remarks);
  const roots = named.filter((root) => image.frame(Number(root.table >> 12n)) !== undefined);
  if (roots.length < named.length)
    remarks.push(
      `CPU ${cpu} ran on ${named.map((r) => r.label).join(' and ')}, but the image does not hold ${roots.length > 0 ? 'all of its' : 'its'} top table`,
    );
  if (roots.length === 0) return undefined;
  return {
    name: `CPU ${cpu} when the dump was taken`,
    ...(pid ? { pid } : {}),
    roots,
    registers,
    evidence: `register notes of CPU ${cpu}`,
    confidence: 'given',
  };
}

function kernelSpace(mode: CompiledMode, image: Image): AddressSpace | undefined {
  const found = kernelRegisters(mode, image);
  if (!found) return undefined;
  const roots = tryRoots(mode, found.registers, 'kernel', [], ['kernel']).filter((root) => image.frame(Number(root.table >> 12n)) !== undefined);
  if (roots.length === 0) return undefined;
  return { name: 'kernel', pid: 0, comm: 'kernel', cpuMode: 'kernel', roots, registers: found.registers, evidence: found.evidence, confidence: 'derived' };
}

/** Roots out of registers that nobody vouched for: one that makes no sense is a remark, not an error. */
function tryRoots(mode: CompiledMode, registers: Registers, what: string, remarks: string[], halves?: readonly Half[]): Root[] {
  try {
    const roots = rootsOfRegisters(mode, registers, halves);
    return roots.length === 0 && halves !== undefined ? rootsOfRegisters(mode, registers) : roots;
  } catch (e) {
    if (!(e instanceof PxdError)) throw e;
    remarks.push(`${what}: ${e.message}`);
    return [];
  }
}

/** Bare values are a space each; `register=value` pairs make up one space until a register comes twice. */
function givenSpaces(mode: CompiledMode, choice: Choice): AddressSpace[] {
  const sets: Record<string, bigint>[] = [];
  let open: Record<string, bigint> | undefined;
  for (const { register, value } of choice.root ?? []) {
    if (register === undefined) {
      const half = choice.half ?? 'user';
      const own = mode.mode.roots.find((r) => r.of === half || r.of === 'both') ?? mode.mode.roots[0];
      sets.push({ [own.names[0]]: value });
      continue;
    }
    const name = register.toLowerCase();
    if (open === undefined || open[name] !== undefined) sets.push((open = {}));
    open[name] = value;
  }
  return sets.map((registers) => {
    const roots = rootsOfRegisters(mode, registers);
    if (roots.length === 0) {
      const known = mode.mode.roots.map((r) => r.names[0]).join(', ');
      throw new PxdError('usage', `--root ${Object.keys(registers).join(', ')}: expected a root register of ${mode.mode.name}, which has ${known}`);
    }
    return { name: roots.map((r) => r.label).join(', '), roots, registers, evidence: 'as asked for', confidence: 'given' };
  });
}

function choose(spaces: readonly AddressSpace[], choice: Choice, name: string): AddressSpace[] {
  if (choice.root !== undefined) return [...spaces];
  if (choice.pid === undefined) {
    const like = spaces.filter((s) => choice.preferPid !== undefined && s.pid === choice.preferPid);
    return [preferred(like.length > 0 ? like : spaces, choice.of)];
  }
  const own = spaces.filter((s) => s.pid === choice.pid);
  if (own.length === 0) {
    const pids = [...new Set(spaces.flatMap((s) => (s.pid === undefined ? [] : [s.pid])))].sort((a, b) => a - b);
    throw new PxdError(
      'unknown',
      `${name}: no root of pid ${choice.pid} is known, ${pids.length > 0 ? `only of ${pids.join(', ')}` : 'and of no other pid either'}`,
    );
  }
  return [preferred(own, choice.of)];
}

const preferred = (spaces: readonly AddressSpace[], of: Half = 'user'): AddressSpace => spaces.find((s) => s.cpuMode === of) ?? spaces[0];

// ---- tables ----

const caches = new WeakMap<Session, { root: Root; tables: PageTables }[]>();

/** Trees kept per session: enough for comparing two, few enough for memory. */
const KEPT = 2;

/** The tables below a root (of the half that was asked for); the last few are kept. @throws {PxdError} when the image lacks the top table. */
export function tablesOf(session: Session, root: Root): PageTables {
  const kept = caches.get(session) ?? [];
  caches.set(session, kept);
  const known = kept.find((k) => k.root === root);
  if (known) return known.tables;
  const tables = readPageTables(session.mode, session.image, root, session.limits.half ? { half: session.limits.half } : {});
  kept.unshift({ root, tables });
  kept.length = Math.min(kept.length, KEPT);
  return tables;
}

/** Roots of a space that have anything in the half asked for. */
export const rootsFor = (space: AddressSpace, half?: Half): readonly Root[] =>
  space.roots.filter((root) => half === undefined || root.ranges.some((r) => r.half === half));

/** Do two spaces walk the same tables (a process in user and in kernel mode, mostly)? */
export const sameTables = (a: AddressSpace, b: AddressSpace): boolean =>
  a.roots.length === b.roots.length && a.roots.every((root, i) => root.table === b.roots[i].table && root.level === b.roots[i].level);
