/** Stories: what they say is what the run did. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { call, scenario, task } from '../../src/explore/scenario.ts';
import { parseSchedule, scheduleText } from '../../src/explore/schedule.ts';
import { search } from '../../src/explore/search.ts';
import { WINDOW } from '../../src/explore/setup.ts';
import { stageOf } from '../../src/explore/stage.ts';
import { callText } from '../../src/explore/story/calls.ts';
import { entryWords, linuxName, resultText } from '../../src/explore/story/words.ts';
import { type Story, type StoryEvent, tell } from '../../src/explore/story.ts';
import { forgetOrder } from '../../src/kernel/lockdep.ts';
import { operations } from '../../src/kernel/op.ts';
import { globals } from '../../src/mm/globals.ts';
import { Globals } from '../../src/mm/types.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_READ, PTE_SWAP, PTE_WRITE } from '../../src/pagetable/canonical.ts';
import e17 from '../../src/races/e17.ts';
import e28 from '../../src/races/e28.ts';
import { kernelText } from './kernel-text.ts';
import { storyOf } from './support/stories.ts';

const ROOT = join(import.meta.dirname, '../..');
const OLD = '0x10000000';
const NEW = '0x10010000';

const at = (story: Story, what: (e: StoryEvent) => boolean): number => story.events.findIndex(what);
const operation = (name: string, arg: string) => (e: StoryEvent) => e.operation === name && e.args[0] === arg;

describe('E28', () => {
  // 8xx has pages of 4 KiB, too: addresses are the same everywhere.
  it.each(['x86-4level', 'arm64-4k-48', 's390x', 'ppc-8xx-4k'])('tells the move, the fill before it and the end of the page (%s)', (mode) => {
    const story = storyOf(e28, 'late', mode);
    const fill = at(story, (e) => e.tlb.some((t) => t.change === 'fill' && t.address === OLD));
    const cleared = at(story, operation('ptep_get_and_clear', OLD));
    const placed = at(story, operation('set_pte_at', NEW));
    const dropped = story.events.findIndex((e, i) => i > placed && e.lane === 0 && e.operation === 'spin_unlock');
    const zapped = at(story, operation('ptep_get_and_clear', NEW));
    const last = story.events.length - 1;
    expect([fill >= 0, fill < cleared, cleared < placed, placed < dropped, dropped < zapped, zapped < last]).toEqual(Array(6).fill(true));
    // One page all along.
    expect(story.events[fill].tlb[0].to).toBe('P1');
    expect(story.events[cleared].result).toMatch(/^P1 /);
    expect(story.events[placed].args[1]).toMatch(/^P1 /);
    expect(story.events[zapped].result).toMatch(/^P1 /);
    expect(story.events[last].freed).toEqual(['P1']);
    expect(story.events[placed].held).toContain('mmap_lock(w)');
    expect(story.events[placed].held.some((lock) => /^ptl T\d$/.test(lock))).toBe(true);
    expect(story.events[dropped].held.some((lock) => lock.startsWith('ptl'))).toBe(false);
  });

  it('names what the violation is about, the cause, and what comes too late', () => {
    const story = storyOf(e28, 'late');
    expect(story.violation?.text).toBe(`P1 is freed while CPU 0 still translates ${OLD} to it`);
    expect(story.violation?.objects).toEqual(['P1', OLD]);
    expect(story.violation?.about).toContain(NEW);
    expect(story.conflict.map((c) => c.role)).toEqual(['cause', 'violation']);
    expect(story.events[story.conflict[0].event].kind).toBe('hardware');
    expect(story.tooLate.map((e) => [e.lane, e.operation, e.args[0]])).toEqual([[0, 'flush_tlb_range', `${OLD}-0x10002000`]]);
    // The lock that protected the page is not held by then.
    expect(story.tooLate[0].held).toEqual(['mmap_lock(w)']);
  });

  it('names calls as a programmer writes them', () => {
    expect(storyOf(e28, 'late').lanes.map((l) => l.calls)).toEqual([
      [`mremap(${OLD}, 0x2000, 0x2000, MREMAP_MAYMOVE|MREMAP_FIXED, ${NEW})`],
      [expect.stringMatching(/^ftruncate\(\d+, 0\)$/)],
    ]);
  });
});

describe('E17', () => {
  it('tells who finds the entry empty and returns', () => {
    const story = storyOf(e17, 'unaware');
    const cleared = at(story, operation('ptep_get_and_clear', OLD));
    const empty = at(story, (e) => operation('ptep_get', OLD)(e) && e.result === 'none');
    expect(story.events[cleared].lane).not.toBe(story.events[empty].lane);
    expect(cleared).toBeLessThan(empty);
    const last = story.events[story.events.length - 1];
    expect([last.lane, last.returns]).toEqual([story.events[empty].lane, '0']);
    expect(story.violation?.text).toContain('MADV_DONTNEED');
    expect(story.violation?.objects).toContain('P1');
    expect(story.tooLate.map((e) => e.operation)).toEqual(['flush_tlb_range']);
  });
});

describe.each([
  ['E28', e28, 'late'],
  ['E17', e17, 'unaware'],
])('any story (%s)', (_, entry, variant) => {
  it('is the same when it is told again', () => {
    const story = storyOf(entry, variant);
    expect(tell(entry, variant, story.mode, parseSchedule(story.schedule))).toEqual(story);
  });

  it('has a place in the source for every operation, where that operation is', () => {
    for (const event of storyOf(entry, variant).events.filter((e) => e.kind === 'operation')) {
      const [{ file, line }] = event.stack;
      const text = readFileSync(join(ROOT, file), 'utf8').split('\n')[(line ?? 0) - 1];
      // Statements may go over several lines; the one that it begins with has the call or the condition.
      expect(text, `${event.text} at ${file}:${line}`).toMatch(/yield\*|if \(|while \(|return|=/);
    }
  });

  it('knows locks as the operations take and drop them', () => {
    const story = storyOf(entry, variant);
    const held = story.lanes.map((): string[] => []);
    for (const { lane, operation: name, args, held: told, kind, result } of story.events) {
      if (kind !== 'operation' || name === null) continue;
      const mine = held[lane];
      const plain = mine.map((lock) => lock.replace(/\(.\)$/, '').replace(/^folio /, ''));
      if (/^(spin_(try)?lock|down_(read|write)|folio_(try)?lock|vma_start_read)$/.test(name) && result !== 'false') mine.push(args[0]);
      else if (/^(spin_unlock|up_(read|write)|folio_unlock|vma_end_read)$/.test(name)) mine.splice(plain.lastIndexOf(args[0]), 1);
      expect(told.map((lock) => lock.replace(/\(.\)$/, '').replace(/^folio /, ''))).toEqual(mine);
    }
  });

  it('speaks of nothing by its number in the heap', () => {
    const story = storyOf(entry, variant);
    for (const text of [story.violation?.text ?? '', ...story.events.map((e) => e.text)]) {
      expect(text).not.toMatch(/[⟦⟧⦙]|undefined|NaN|\b(?:mm|vma|VMA|page|task) \d/);
    }
    const names = story.objects.map((o) => o.name);
    expect(new Set(names).size).toBe(names.length);
    for (const event of story.events) for (const [name] of event.text.matchAll(/\b(?:P|T|VMA|mm)\d+\b/g)) expect(names).toContain(name);
  });
});

it('tells a schedule that was found with fewer stops', () => {
  // Tasks stop before locks alone.
  const stops = new Uint8Array(256);
  operations.forEach(({ name }, code) => {
    if (/lock|down|up/i.test(name)) stops[code] = 1;
  });
  const coarse = stageOf(e28, e28.variants.fixed, 'x86-4level', { stops });
  coarse.stage.machine.enter();
  let turn = 0;
  coarse.scheduler.run((actions) => {
    const tasks = actions.filter((a) => a < 64);
    return tasks[turn++ % tasks.length];
  });
  const schedule = [...coarse.scheduler.schedule];
  const story = tell(e28, 'fixed', 'x86-4level', schedule, { stops });
  expect(story.violation).toBeNull();
  expect(story.schedule).toBe(scheduleText(schedule));
  expect(story.events.length).toBeGreaterThan(schedule.length);
  // All that was done, and by the action that did it.
  expect(story.events.filter((e) => e.returns !== null).map((e) => [e.lane, e.returns])).toHaveLength(2);
  expect([...new Set(story.events.map((e) => e.step))]).toEqual(schedule.map((_, i) => i));
  for (const event of story.events) expect(event.lane).toBe(schedule[event.step]);
});

it('refuses schedules of something else', () => {
  expect(() => tell(e28, 'late', 'x86-4level', [7])).toThrow(/cannot happen/);
  expect(() => tell(e28, 'nowhere', 'x86-4level', [])).toThrow(/no variant/);
});

describe('a deadlock', () => {
  // The order of locks is learned over all runs of a process.
  afterEach(forgetOrder);
  const kernel = kernelText(`
import { spinLock, spinUnlock } from './ops.ts';
export function* both(object, first, second) {
  yield* spinLock(object + first);
  yield* spinLock(object + second);
  yield* spinUnlock(object + second);
  return yield* spinUnlock(object + first);
}
`);
  const locks = [Globals.directoryLock, Globals.shmLock];
  const crossed = scenario({
    id: 'X1',
    title: 'two locks in two orders',
    setup: () => {},
    tasks: {
      one: () => task(call(kernel.both, globals, locks[0], locks[1])),
      other: () => task(call(kernel.both, globals, locks[1], locks[0])),
    },
    variants: { plain: { expect: 'violation' } },
  });

  it('is told by who took what', () => {
    const { violation } = search(crossed, stageOf(crossed, crossed.variants.plain, 'x86-4level'));
    expect(['I22', 'I27']).toContain(violation?.rule);
    const story = tell(crossed, 'plain', 'x86-4level', violation?.schedule ?? []);
    expect(story.violation?.rule).toBe(violation?.rule);
    const taken = story.events.filter((e) => e.operation === 'spin_lock');
    expect(taken.length).toBeGreaterThan(0);
    expect(story.conflict.filter((c) => c.role === 'cause').length).toBeGreaterThan(0);
    for (const { event, role } of story.conflict) if (role === 'cause') expect(story.events[event].operation).toBe('spin_lock');
  });
});

describe('words', () => {
  it('spells as Linux does', () => {
    expect(['movePtes', 'pteOffsetMapLock', 'doCowFault', 'lockVmaUnderRcu', 'tlbFlushTlb'].map(linuxName)).toEqual([
      'move_ptes',
      'pte_offset_map_lock',
      'do_cow_fault',
      'lock_vma_under_rcu',
      'tlb_flush_tlb',
    ]);
    expect([0, -12, 0x10010000, -4096].map(resultText)).toEqual(['0', '-ENOMEM', '0x10010000', '-0x1000']);
  });

  it('decodes arguments', () => {
    const none = (): undefined => undefined;
    expect(callText('madvise', [0x10000000, 0x2000, 8], none)).toBe('madvise(0x10000000, 0x2000, MADV_FREE)');
    expect(callText('mprotect', [0x1000, 0x1000, 0], none)).toBe('mprotect(0x1000, 0x1000, PROT_NONE)');
    expect(callText('mmap', [0, 0x1000, 3, 0x22, -1, 0], none)).toBe('mmap(0, 0x1000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)');
  });

  it('decodes entries', () => {
    storyOf(e28, 'late');
    expect(entryWords(0).text).toBe('none');
    const bits = PTE_PRESENT | PTE_READ | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY;
    // No page is known at that frame.
    expect(entryWords(0x7fff * 2 ** 20 + bits).text).toBe('pfn 0x7fff young|dirty|write');
    expect(entryWords((5 * 32 + 1) * 2 ** 20 + PTE_SWAP).text).toBe('swap 1:5');
  });

  it('has words for every operation that kernel code performs in these', () => {
    const told = new Set([...storyOf(e28, 'late').events, ...storyOf(e17, 'unaware').events].map((e) => e.operation));
    for (const name of told) if (name !== null) expect(name).toMatch(/^[A-Za-z_ ]+$/);
    expect(told.size).toBeGreaterThan(20);
    expect(WINDOW * 4096).toBe(Number(OLD));
  });
});
