/**
 * Operations as people write them: `mmap 0x10000000 64K rw private|anon|fixed`, and as they read them:
 * `mmap(0x10000000, 64K, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED) = 0x10000000`.
 *
 * Invariants: one table says for each operation what its arguments are; both directions follow it. What `callText` prints of a number is
 * exact. An operation that the table does not list is printed with plain numbers and may be written so.
 */
import { PxdError } from '../../pagetable/error.ts';
import * as C from './constants.ts';
import type { Argument, FaultRun, Operation, OperationResult, Trace, TraceStep } from './format.ts';
import { DEFAULT_HEADER } from './format.ts';

/** What an argument is. */
type Kind = 'address' | 'bytes' | 'number' | 'signed' | 'text' | 'process' | 'vector' | C.Constants;

interface Parameter {
  readonly name: string;
  readonly kind: Kind;
  /** What stands for it when it is not written; it is not printed either. Absent: it must be written. */
  readonly otherwise?: bigint;
}

interface Form {
  /** Words that may stand for the operation's name. */
  readonly also?: readonly string[];
  readonly parameters: readonly Parameter[];
  /** The last parameter may come several times. */
  readonly many?: boolean;
}

const MINUS_ONE = 2n ** 64n - 1n;

const p = (name: string, kind: Kind, otherwise?: bigint): Parameter => ({ name, kind, ...(otherwise === undefined ? {} : { otherwise }) });
const RANGE = [p('address', 'address'), p('length', 'bytes')];
const FD = p('fd', 'signed');

/** Arguments by operation. */
const FORMS: Readonly<Record<string, Form>> = {
  mmap: { parameters: [...RANGE, p('prot', C.PROT), p('flags', C.MAP), p('fd', 'signed', MINUS_ONE), p('offset', 'bytes', 0n)] },
  munmap: { parameters: RANGE },
  mprotect: { parameters: [...RANGE, p('prot', C.PROT)] },
  pkey_mprotect: { parameters: [...RANGE, p('prot', C.PROT), p('pkey', 'signed')] },
  mremap: { parameters: [p('old', 'address'), p('old-length', 'bytes'), p('new-length', 'bytes'), p('flags', C.MREMAP, 0n), p('new', 'address', 0n)] },
  madvise: { parameters: [...RANGE, p('advice', C.MADV)] },
  brk: { parameters: [p('address', 'address')] },
  msync: { parameters: [...RANGE, p('flags', C.MS)] },
  mlock: { parameters: RANGE },
  mlock2: { parameters: [...RANGE, p('flags', C.MLOCK)] },
  munlock: { parameters: RANGE },
  mlockall: { parameters: [p('flags', C.MCL)] },
  munlockall: { parameters: [] },
  remap_file_pages: { parameters: [...RANGE, p('prot', C.PROT), p('pgoff', 'number'), p('flags', C.MAP, 0n)] },
  mincore: { parameters: RANGE },
  mseal: { parameters: [...RANGE, p('flags', 'number', 0n)] },
  prctl: { parameters: [p('option', C.PR), p('a', 'number', 0n), p('b', 'number', 0n), p('c', 'number', 0n), p('d', 'number', 0n)] },
  memfd_create: { also: ['memfd'], parameters: [p('name', 'text'), p('flags', C.MFD, 0n)] },
  open: { parameters: [p('path', 'text'), p('flags', C.OPEN)] },
  unlink: { parameters: [p('path', 'text'), p('flags', 'number', 0n)] },
  close: { parameters: [FD] },
  dup: { parameters: [FD] },
  fsync: { parameters: [FD] },
  ftruncate: { parameters: [FD, p('length', 'bytes')] },
  fallocate: { parameters: [FD, p('mode', C.FALLOC), p('offset', 'bytes'), p('length', 'bytes')] },
  fcntl: { parameters: [FD, p('command', C.FCNTL), p('value', C.SEALS, 0n)] },
  lseek: { parameters: [FD, p('offset', 'bytes'), p('whence', C.SEEK)] },
  pipe2: { also: ['pipe'], parameters: [p('flags', C.OPEN, 0n)] },
  read: { parameters: [FD, p('buffer', 'address'), p('length', 'bytes')] },
  write: { parameters: [FD, p('buffer', 'address'), p('length', 'bytes')] },
  pread64: { parameters: [FD, p('buffer', 'address'), p('length', 'bytes'), p('offset', 'bytes')] },
  pwrite64: { parameters: [FD, p('buffer', 'address'), p('length', 'bytes'), p('offset', 'bytes')] },
  readbuf: { parameters: [FD, p('length', 'bytes')] },
  preadbuf: { parameters: [FD, p('length', 'bytes'), p('offset', 'bytes')] },
  writebuf: { parameters: [FD, p('byte', 'number'), p('length', 'bytes')] },
  pwritebuf: { parameters: [FD, p('byte', 'number'), p('length', 'bytes'), p('offset', 'bytes')] },
  r: { also: ['load'], parameters: [p('address', 'address'), p('pages', 'number', 1n)] },
  w: { also: ['store'], parameters: [p('address', 'address'), p('pages', 'number', 1n), p('byte', 'number', 0n)] },
  r8: { also: ['load8'], parameters: [p('address', 'address')] },
  w8: { also: ['store8'], parameters: [p('address', 'address'), p('value', 'number', 0n)] },
  cas: { also: ['compare-exchange'], parameters: [p('address', 'address'), p('pages', 'number', 1n), p('byte', 'number', 0n)] },
  x: { also: ['execute', 'fetch'], parameters: [p('address', 'address'), p('pages', 'number', 1n)] },
  fork: { parameters: [] },
  exit: { parameters: [p('status', 'number', 0n)] },
  kill: { parameters: [] },
  mapmany: {
    parameters: [p('address', 'address'), p('count', 'number'), p('stride', 'bytes'), p('length', 'bytes'), p('prot', C.PROT), p('flags', C.MAP)],
  },
  vmsplice: { parameters: [FD, p('memory', 'vector'), p('flags', C.SPLICE, 0n)] },
  process_vm_readv: { parameters: [p('process', 'process'), p('local', 'vector'), p('remote', 'vector'), p('flags', 'number', 0n)] },
  process_vm_writev: { parameters: [p('process', 'process'), p('local', 'vector'), p('remote', 'vector'), p('flags', 'number', 0n)] },
  process_madvise: { parameters: [p('process', 'process'), p('memory', 'vector'), p('advice', C.MADV), p('flags', 'number', 0n)] },
  process_mrelease: { parameters: [p('process', 'process'), p('flags', 'number', 0n)] },
  setrlimit: { parameters: [p('resource', C.RLIMIT), p('soft', 'signed'), p('hard', 'signed', MINUS_ONE)] },
  capdrop: { parameters: [p('capability', C.CAP)], many: true },
  shmget: { parameters: [p('key', 'number'), p('size', 'bytes'), p('flags', 'number')] },
  shmat: { parameters: [p('segment', 'number'), p('address', 'address', 0n), p('flags', C.SHM, 0n)] },
  shmdt: { parameters: [p('address', 'address')] },
  shmrm: { parameters: [p('segment', 'number')] },
  cfg: { parameters: [p('path', 'text'), p('value', 'text')] },
  pm_read: { also: ['mem-read'], parameters: RANGE },
  pm_write: { also: ['mem-write'], parameters: [...RANGE, p('byte', 'number')] },
  peek: { parameters: [p('address', 'address')] },
  poke: { parameters: [p('address', 'address'), p('word', 'number')] },
  pagemap_scan: {
    parameters: [
      p('start', 'address'),
      p('end', 'address'),
      p('flags', C.SCAN, 0n),
      p('max-pages', 'number', 0n),
      p('inverted', C.CATEGORY, 0n),
      p('mask', C.CATEGORY, 0n),
      p('any-of', C.CATEGORY, 0n),
      p('return', C.CATEGORY, 0x1ffn),
      p('regions', 'number', 256n),
    ],
  },
  clear_refs: { parameters: [p('what', C.CLEAR)] },
  pkey_alloc: { parameters: [p('flags', 'number'), p('rights', 'number')] },
  pkey_free: { parameters: [p('pkey', 'signed')] },
  membarrier: { parameters: [p('command', 'number'), p('flags', 'number', 0n), p('cpu', 'signed', 0n)] },
  map_shadow_stack: { parameters: [...RANGE, p('flags', 'number', 0n)] },
  memfd_secret: { parameters: [p('flags', 'number', 0n)] },
  fadvise64: { parameters: [FD, p('offset', 'bytes'), p('length', 'bytes'), p('advice', 'number')] },
  sync_file_range: { parameters: [FD, p('offset', 'bytes'), p('length', 'bytes'), p('flags', 'number', 0n)] },
  snap: { parameters: [] },
  mbind: { parameters: [...RANGE, p('mode', C.MPOL), p('nodes', 'number'), p('max-node', 'number'), p('flags', 'number', 0n)] },
  set_mempolicy: { parameters: [p('mode', C.MPOL), p('nodes', 'number'), p('max-node', 'number')] },
  uffd_register: { parameters: [p('handle', 'number'), ...RANGE, p('mode', 'number')] },
  uffd_unregister: { parameters: [p('handle', 'number'), ...RANGE] },
  uffd_wake: { parameters: [p('handle', 'number'), ...RANGE] },
  uffd_copy: { parameters: [p('handle', 'number'), ...RANGE, p('byte', 'number'), p('mode', 'number')] },
  uffd_zeropage: { parameters: [p('handle', 'number'), ...RANGE, p('mode', 'number')] },
  uffd_wp: { parameters: [p('handle', 'number'), ...RANGE, p('mode', 'number')] },
};

/** Names that people read for the operations whose own are short. */
const SHOWN: Readonly<Record<string, string>> = { r: 'load', w: 'store', r8: 'load8', w8: 'store8', x: 'execute', memfd_create: 'memfd_create' };

const OP_OF = new Map(Object.entries(FORMS).flatMap(([op, form]) => [[op, op] as const, ...(form.also ?? []).map((word) => [word, op] as const)]));

// Printing.

/** The call: name and arguments, constants by name, sizes with their unit. */
export function callText({ op, args }: Operation): string {
  const form = FORMS[op];
  const name = SHOWN[op] ?? op;
  if (form === undefined) return `${name}(${args.map((a) => argumentText('number', a)).join(', ')})`;
  const last = form.parameters.length - 1;
  let shown = meant(form, args).map((value, i) => argumentText(form.parameters[Math.min(i, last)]?.kind ?? 'number', value));
  // Arguments at the end that say nothing are left out.
  const says = (i: number): boolean => form.parameters[i]?.otherwise === undefined || args[i] !== form.parameters[i].otherwise;
  let end = shown.length;
  while (end > 0 && !says(end - 1)) end--;
  shown = shown.slice(0, op === 'mmap' && end > 4 ? shown.length : end);
  return `${name}(${shown.join(', ')})`;
}

/** Arguments that the operation looks at: recordings may have more. */
const meant = (form: Form | undefined, args: readonly Argument[]): readonly Argument[] =>
  form === undefined || form.many ? args : args.slice(0, form.parameters.length);

/** The operation as a line of a script: `parseScript` reads the same operation from it. */
export function scriptLine({ op, process, args }: Operation): string {
  const form = FORMS[op];
  const last = (form?.parameters.length ?? 0) - 1;
  const words = meant(form, args).map((value, i) => argumentText(form?.parameters[Math.min(i, last)]?.kind ?? 'number', value).replaceAll(', ', ','));
  return [...(process > 0 ? [`P${process}`] : []), form?.also?.[0] ?? op, ...words].join(' ');
}

function argumentText(kind: Kind, value: Argument): string {
  if (value === null) return 'NULL';
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value !== 'bigint') {
    if (kind === 'vector') return `[${value.map((piece) => (Array.isArray(piece) ? pieceText(piece) : argumentText('number', piece))).join(', ')}]`;
    return `[${value.map((x) => argumentText('number', x)).join(', ')}]`;
  }
  if (typeof kind === 'object') return C.constantText(kind, value);
  if (kind === 'bytes') return bytesText(value);
  if (kind === 'address') return `0x${value.toString(16)}`;
  if (kind === 'process') return `P${value}`;
  if (kind === 'signed') return BigInt.asIntN(64, value).toString();
  return value < 10_000n ? value.toString() : value > 2n ** 63n ? BigInt.asIntN(64, value).toString() : `0x${value.toString(16)}`;
}

const pieceText = (piece: readonly Argument[]): string => `${argumentText('address', piece[0] ?? 0n)}+${argumentText('bytes', piece[1] ?? 0n)}`;

/** A size, exact: `60K`, `4100`, `-4K`, `0xfffffffff000`. */
export function bytesText(value: bigint): string {
  const signed = BigInt.asIntN(64, value);
  if (signed < 0n) return signed > -(2n ** 40n) ? `-${bytesText(-signed)}` : `0x${value.toString(16)}`;
  let [n, unit] = [value, 0];
  while (unit < 4 && n !== 0n && n % 1024n === 0n) {
    n /= 1024n;
    unit++;
  }
  return n < 100_000n ? `${n}${['', 'K', 'M', 'G', 'T'][unit]}` : `0x${value.toString(16)}`;
}

const SIGNALS: Readonly<Record<number, string>> = { 4: 'SIGILL', 7: 'SIGBUS', 9: 'SIGKILL', 11: 'SIGSEGV' };
const CODES: Readonly<Record<string, string>> = {
  '11/1': 'SEGV_MAPERR',
  '11/2': 'SEGV_ACCERR',
  '11/3': 'SEGV_BNDERR',
  '11/4': 'SEGV_PKUERR',
  '7/1': 'BUS_ADRALN',
  '7/2': 'BUS_ADRERR',
  '7/3': 'BUS_OBJERR',
  '7/4': 'BUS_MCEERR_AR',
};

/** `SIGSEGV (SEGV_MAPERR) at 0x10004000 and the page after it`. */
export function faultText([address, count, signal, code]: FaultRun): string {
  const name = SIGNALS[signal] ?? `signal ${signal}`;
  const why = CODES[`${signal}/${code}`] ?? (code === 128 ? 'SI_KERNEL' : `code ${code}`);
  return `${name} (${why}) at ${address}${count > 1 ? ` and the ${count === 2 ? 'page' : `${count - 1} pages`} after it` : ''}`;
}

/** What the operation gave, after the call: `= 0x10000000`, `= EINVAL`, `= 5, 0 ×3`. */
export function resultText(op: string, result: OperationResult): string {
  const { r, v, status, u, walk_end } = result;
  if (op === 'pagemap_scan' && typeof r === 'number') return `= ${r} ${r === 1 ? 'region' : 'regions'}, walked to ${walk_end}`;
  if (r === 'gone') return `= gone (${status ?? ''})`;
  const first = u === undefined ? '' : `= unregister ${u}, then `;
  const equals = first === '' ? '= ' : '';
  if (/^(r|r8|w|w8|cas|x)$/.test(op) && typeof r === 'number') {
    if (op === 'r' && r > 0) return `${first}${equals}${valuesText(v)}`;
    if (op === 'r8' && r > 0) return `${first}${equals}${String(v)}`;
    return `${first}${equals}${r === 0 ? 'no access' : `${r} ${r === 1 ? 'access' : 'accesses'}`}`;
  }
  return `${first}${equals}${r}${v === undefined ? '' : `: ${valuesText(v)}`}`;
}

const MOST_REGIONS = 32;

/** Further lines of a result: faults, regions of a scan. */
export function detailLines(op: string, { f, v }: OperationResult): string[] {
  const faults = (f ?? []).map(faultText);
  if (op !== 'pagemap_scan' || !Array.isArray(v)) return faults;
  const regions = (v as [string, string, number][]).map(
    ([start, end, categories]) =>
      `${start.slice(2)}-${end.slice(2)} ${C.constantText(C.CATEGORY, BigInt(categories)).replaceAll(C.CATEGORY.prefix, '').toLowerCase()}`,
  );
  return [...faults, ...regions.slice(0, MOST_REGIONS), ...(regions.length > MOST_REGIONS ? [`… and ${regions.length - MOST_REGIONS} more`] : [])];
}

const MOST_VALUES = 40;

/** `5, 0 ×3, 7`; anything but a list of bytes as JSON. */
function valuesText(value: unknown): string {
  const isRun = (x: unknown): boolean => typeof x === 'number' || (Array.isArray(x) && x.length === 2 && x.every((n) => typeof n === 'number'));
  if (!Array.isArray(value) || !value.every(isRun)) return JSON.stringify(value);
  const texts = (value as (number | [number, number])[]).map((x) => (typeof x === 'number' ? `${x}` : `${x[1]} ×${x[0]}`));
  return texts.length > MOST_VALUES ? `${texts.slice(0, MOST_VALUES).join(', ')}, … (${texts.length - MOST_VALUES} more)` : texts.join(', ');
}

// Scripts.

/** Reads a script: one operation a line, `#` begins a remark, `P1 ` or `1: ` in front says which process carries it out. */
export function parseScript(text: string, name = 'script'): Trace {
  const steps: TraceStep[] = [];
  for (const [at, line] of text.split('\n').entries()) {
    const words = splitWords(line);
    if (words.length === 0) continue;
    const place = `${name}, line ${at + 1}`;
    const by = /^(?:[pP](\d+):?|(\d+):)$/.exec(words[0]);
    const process = by === null ? 0 : Number(by[1] ?? by[2]);
    const [word, ...rest] = by === null ? words : words.slice(1);
    if (word === undefined) throw bad(`${place} names a process and no operation`);
    steps.push({ i: steps.length, process, ...operationFrom(word, rest, place), expected: undefined, delta: undefined });
  }
  if (steps.length === 0) throw bad(`${name} holds no operation`);
  return { header: { ...DEFAULT_HEADER, name }, steps };
}

/** Words of a line, without its remark; `"…"` keeps blanks, blanks around `|` and after `,` do not part words. */
function splitWords(line: string): string[] {
  const bare = line.replace(/(^|\s)#.*$/, '').trim();
  const joined = bare.replace(/\s*\|\s*/g, '|').replace(/,\s+/g, ',');
  return [...joined.matchAll(/"([^"]*)"|\S+/g)].map((m) => m[1] ?? m[0]);
}

function operationFrom(word: string, rest: readonly string[], place: string): { op: string; args: Argument[] } {
  const op = OP_OF.get(word.toLowerCase());
  if (op === undefined) throw bad(`${place}: there is no operation "${shorten(word)}"${near(word)}`);
  const { parameters, many } = FORMS[op];
  const needed = parameters.filter((x) => x.otherwise === undefined).length;
  const usage = `${word} ${parameters.map((x) => (x.otherwise === undefined ? x.name.toUpperCase() : `[${x.name.toUpperCase()}]`)).join(' ')}${many ? '…' : ''}`;
  if (rest.length < needed || (!many && rest.length > parameters.length)) throw bad(`${place}: expected "${usage.trim()}", found ${rest.length} arguments`);
  const args: Argument[] = rest.map((text, i) => {
    const parameter = parameters[Math.min(i, parameters.length - 1)];
    const value = argumentFrom(parameter.kind, text);
    if (value === undefined) throw bad(`${place}: ${parameter.name.toUpperCase()} of ${word} is "${shorten(text)}", expected ${expectation(parameter.kind)}`);
    return value;
  });
  for (const { otherwise } of parameters.slice(rest.length)) if (otherwise !== undefined) args.push(otherwise);
  return { op, args };
}

function argumentFrom(kind: Kind, text: string): Argument | undefined {
  if (kind === 'text') return text;
  if (typeof kind === 'object') return C.constantFrom(kind, text);
  if (kind === 'process') return numberFrom(text.replace(/^[pP]/, ''));
  if (kind !== 'vector') return numberFrom(text);
  const bare = text.replace(/^\[|\]$/g, '');
  if (bare === '') return [];
  const pieces = bare.split(',').map((piece) => piece.split('+').map(numberFrom));
  return pieces.every((piece) => piece.length === 2 && piece.every((x) => x !== undefined)) ? (pieces as bigint[][]) : undefined;
}

const UNITS: Readonly<Record<string, bigint>> = { k: 2n ** 10n, m: 2n ** 20n, g: 2n ** 30n, t: 2n ** 40n, p: 4096n };

/** `4096`, `0x1000`, `-1`, `64K`, `16p` (pages), `unlimited`. */
function numberFrom(text: string): bigint | undefined {
  if (/^(unlimited|infinity)$/i.test(text)) return MINUS_ONE;
  const found = /^(-?)(0x[0-9a-f]{1,16}|\d{1,20})([kmgtp]?)$/i.exec(text.replaceAll('_', ''));
  if (!found) return undefined;
  const value = BigInt(found[2]) * (UNITS[found[3].toLowerCase()] ?? 1n);
  return BigInt.asUintN(64, found[1] === '-' ? -value : value);
}

function expectation(kind: Kind): string {
  if (typeof kind === 'object') {
    const names = kind.names.map(([name]) => name.slice(kind.prefix.length).toLowerCase());
    return `${names.slice(0, 6).join(', ')}${names.length > 6 ? ', …' : ''}${kind === C.PROT ? ', or letters of rwx' : ''}, or a number`;
  }
  if (kind === 'vector') return 'ADDRESS+LENGTH, several joined by commas';
  if (kind === 'process') return 'the number of a process';
  return 'a number (0x… or decimal, with K, M, G, T for bytes or p for pages)';
}

/** A word that may have been meant. */
function near(word: string): string {
  const lower = word.toLowerCase();
  const found = [...OP_OF.keys()].find((known) => known.length > 2 && (known.startsWith(lower) || lower.startsWith(known) || distance(known, lower) <= 2));
  return found === undefined ? '' : `, did you mean "${found}"?`;
}

/** Edits that lead from one word to another. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next[j] = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length];
}

/** The operations that a script may have, one a line, for the help. */
export function scriptOperations(): string[] {
  return Object.entries(FORMS)
    .filter(([op]) => !/^(uffd_|mbind|set_mempolicy)/.test(op))
    .map(([op, { also, parameters, many }]) => {
      const words = parameters.map((x) => (x.otherwise === undefined ? x.name.toUpperCase() : `[${x.name.toUpperCase()}]`));
      return `${[also?.[0] ?? op, ...words].join(' ')}${many ? '…' : ''}`;
    });
}

const shorten = (text: string): string => (text.length > 40 ? `${text.slice(0, 40)}…` : text);

const bad = (sentence: string): PxdError => new PxdError('usage', sentence);
