/**
 * What each call of get_user_pages returns in each situation, as docs/gup.md shows it; the names that it gives are functions that exist. What is expected comes from
 * the words of the calls' contracts (mm/gup.c), not from the table.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import { get, set } from '../../src/memory/heap.ts';
import {
  allocGup,
  allocPageVector,
  FOLL_LONGTERM,
  FOLL_NOFAULT,
  FOLL_TOUCH,
  FOLL_WRITE,
  freeGup,
  freePageVector,
  Gup,
  PageVector,
} from '../../src/mm/gup-types.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';

const ROOT = join(import.meta.dirname, '../..');
const PATH = join(ROOT, 'docs/gup.md');
const AT = 0x10000;
const PAGES = 4;
const [PRIVATE, SHARED] = [0x32, 0x31];
const [NONE, READ, BOTH] = [0, 1, 3];
const ERRNO: Readonly<Record<number, string>> = { [-14]: '−EFAULT', [-22]: '−EINVAL' };

interface Situation {
  readonly name: string;
  /** Rights of each page; −1 where nothing is mapped. */
  readonly rights: readonly number[];
  readonly flags?: number;
  readonly type?: number;
}

const SITUATIONS: readonly Situation[] = [
  { name: 'all may be written, to write', rights: [BOTH, BOTH, BOTH, BOTH], flags: FOLL_WRITE },
  { name: 'the same, shared, to read', rights: [BOTH, BOTH, BOTH, BOTH], type: SHARED },
  { name: 'nothing from the third on', rights: [BOTH, BOTH, -1, -1] },
  { name: 'the third may not be written, to write', rights: [BOTH, BOTH, READ, BOTH], flags: FOLL_WRITE },
  { name: 'the third may not be accessed', rights: [BOTH, BOTH, NONE, BOTH] },
  { name: 'nothing at all', rights: [-1, -1, -1, -1] },
  { name: 'none may be accessed', rights: [NONE, NONE, NONE, NONE] },
  { name: 'no faults (FOLL_NOFAULT)', rights: [BOTH, BOTH, BOTH, BOTH], flags: FOLL_NOFAULT | FOLL_WRITE },
  { name: 'FOLL_LONGTERM, which only pins may say', rights: [BOTH, BOTH, BOTH, BOTH], flags: FOLL_LONGTERM | FOLL_WRITE },
  { name: 'a flag that only the kernel itself may say (FOLL_TOUCH)', rights: [BOTH, BOTH, BOTH, BOTH], flags: FOLL_TOUCH },
];

const CALLS = [
  ['fast only', 'getUserPagesFastOnly'],
  ['get fast', 'getUserPagesFast'],
  ['pin fast', 'pinUserPagesFast'],
  ['get', 'getUserPages'],
  ['pin', 'pinUserPages'],
  ['get unlocked', 'getUserPagesUnlocked'],
  ['pin unlocked', 'pinUserPagesUnlocked'],
  ['get remote', 'getUserPagesRemote'],
  ['pin remote', 'pinUserPagesRemote'],
] as const;
type Name = (typeof CALLS)[number][1];

const locked = (name: Name): boolean => !name.includes('Fast') && !name.includes('Unlocked');

/** What a call returns, of a process made for it. */
function returned(mode: string, { rights, flags = 0, type = PRIVATE }: Situation, name: Name): number {
  const machine = new Machine({ mode, ramBytes: 8 * 2 ** 20 });
  const p = machine.spawn();
  const size = machine.pageSize;
  for (const [page, prot] of rights.entries()) {
    if (prot < 0) continue;
    expect(p.syscall('mmap', (AT + page) * size, size, BOTH, type, -1, 0)).toBe((AT + page) * size);
    if (page < 2) expect(p.store(BigInt((AT + page) * size), 4, 1n)).toBeUndefined();
    if (prot !== BOTH) expect(p.syscall('mprotect', (AT + page) * size, size, prot)).toBe(0);
  }
  machine.enter();
  const { kernel } = machine;
  const vector = allocPageVector();
  if (locked(name)) kernel.mmapReadLock(p.mm);
  let result: number;
  if (name === 'getUserPagesRemote' || name === 'pinUserPagesRemote') {
    const gup = allocGup();
    set(gup, Gup.mm, p.mm);
    set(gup, Gup.flags, flags);
    set(gup, Gup.vector, vector);
    set(gup, Gup.locked, 1);
    result = kernel[name](gup, AT, PAGES);
    if (get(gup, Gup.locked) === 0) kernel.mmapReadLock(p.mm);
    freeGup(gup);
  } else result = kernel[name](p.mm, AT, PAGES, flags, vector);
  if (locked(name)) kernel.mmapReadUnlock(p.mm);
  expect(get(vector, PageVector.count)).toBe(Math.max(result, 0));
  if (name.startsWith('pin')) kernel.unpinUserPages(vector, 0);
  else kernel.putUserPages(vector);
  freePageVector(vector);
  expect(checkMachine()).toEqual([]);
  return result;
}

/** What the contracts say: pages up to the first that may not be had, or that only a fault brings where none is wanted; an error only for none. */
function promised({ rights, flags = 0 }: Situation, name: Name): number {
  const pins = name.startsWith('pin');
  // Of the calls that pin only the fast one tells of wrong flags.
  if ((flags & FOLL_TOUCH) !== 0) return name === 'getUserPagesFastOnly' || (pins && !name.includes('Fast')) ? 0 : -22;
  if ((flags & FOLL_LONGTERM) !== 0 && !pins) return name === 'getUserPagesFastOnly' ? 0 : -22;
  const wanted = (flags & FOLL_WRITE) !== 0 ? BOTH : READ;
  let pages = 0;
  while (pages < PAGES && rights[pages] >= wanted) pages++;
  if (name === 'getUserPagesFastOnly' || (flags & FOLL_NOFAULT) !== 0) pages = Math.min(pages, 2);
  return pages === 0 && name !== 'getUserPagesFastOnly' ? -14 : pages;
}

function table(): string {
  const rows = SITUATIONS.map((situation) => {
    const cells = CALLS.map(([, name]) => {
      const result = returned('x86-4level', situation, name);
      return result < 0 ? (ERRNO[result] ?? String(result)) : String(result);
    });
    return `| ${[situation.name, ...cells].join(' | ')} |`;
  });
  return `\n| | ${CALLS.map(([title]) => title).join(' | ')} |\n|-|${'-|'.repeat(CALLS.length)}\n${rows.join('\n')}\n\n`;
}

/** What stands between two marks of a text. */
function between(text: string, what: string): [before: string, inside: string, after: string] {
  const [begin, end] = [`<!-- ${what}: begin -->\n`, `<!-- ${what}: end -->`];
  const [from, to] = [text.indexOf(begin) + begin.length, text.indexOf(end)];
  expect(to).toBeGreaterThan(from - 1);
  return [text.slice(0, from), text.slice(from, to), text.slice(to)];
}

describe('F214: what get_user_pages returns', () => {
  it.each(['x86-4level', 'arm64-4k-48', 's390x'])('is what its contracts say, in %s', (mode) => {
    for (const situation of SITUATIONS)
      for (const [, name] of CALLS) {
        const at = { situation: situation.name, name };
        expect({ ...at, result: returned(mode, situation, name) }).toEqual({ ...at, result: promised(situation, name) });
      }
  });

  it('is what docs/gup.md shows', () => {
    const [before, shown, after] = between(readFileSync(PATH, 'utf8'), 'returns');
    const now = table();
    if (process.env.PXD_WRITE_DOCS === '1') writeFileSync(PATH, before + now + after);
    else expect(shown, 'PXD_WRITE_DOCS=1 npx vitest run tests/features/gup-returns.test.ts writes it').toBe(now);
  });
});

describe('F185: the names', () => {
  it('are those of functions in the files that docs/gup.md names', () => {
    const [, inside] = between(readFileSync(PATH, 'utf8'), 'names');
    const lines = inside.trim().split('\n');
    expect(lines.length).toBeGreaterThan(15);
    for (const line of lines) {
      const here = /`(\w+)`[^|]*, (src\/mm\/[\w-]+\.ts) \|$/.exec(line);
      expect(here, line).not.toBeNull();
      if (here) expect(readFileSync(join(ROOT, here[2]), 'utf8'), line).toMatch(new RegExp(`function\\*? ${here[1]}\\b`));
    }
  });
});
