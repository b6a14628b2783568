/**
 * Small random programs in the primitives of the real kernel: locks taken, tried and released, shared words, objects that are made, handed over and freed,
 * pages with their counts and flags, entries of a page table, RCU, translations. Some break rules: an unlock too many, a lock that is kept, a page used after it was freed.
 * The same program for the same seed.
 */
import { call, type Ending, type Hardware, type Scenario, scenario, task } from '../../../src/explore/scenario.ts';
import { map, store, WINDOW } from '../../../src/explore/setup.ts';
import { loadEntry, pageOfEntry } from '../../../src/kernel/arch.ts';
import { randomNumbers } from '../../../src/kernel/choose.ts';
import { mmuEntry } from '../../../src/kernel/mmu.ts';
import { allocPages } from '../../../src/memory/buddy.ts';
import { GFP_KERNEL } from '../../../src/memory/gfp.ts';
import { alloc, get, set } from '../../../src/memory/heap.ts';
import { heap, pageFlags, pageMapcount, pageRefcount } from '../../../src/memory/state.ts';
import { array, defineStruct } from '../../../src/memory/struct.ts';
import { Mm } from '../../../src/mm/types.ts';
import { kernelText } from '../kernel-text.ts';

/** What tasks share. `a` … `c` are words, `g` and `h` are plain fields under spin lock 0 and 1, `next` leads to another object, `page` to a page. */
const Sample = defineStruct('sample', {
  a: 'number',
  b: 'number',
  c: 'number',
  g: 'number',
  h: 'number',
  next: 'ref:sample',
  page: 'page',
  spin0: 'lock',
  spin1: 'lock',
  sem: array(2, 'lock'),
});

/** Locks that may be nested in what is held: only later ones, so that no order of locks is broken. */
const SEM = 0;
const FOLIO = 1;
const SPIN0 = 2;
const SPIN1 = 3;
const PTL = 4;

class Program {
  readonly #random: (n: number) => number;
  /** 0: with rules broken here and there. */
  readonly #faulty: boolean;
  readonly #translations: boolean;
  #names = 0;

  constructor(random: (n: number) => number, faulty: boolean, translations: boolean) {
    this.#random = random;
    this.#faulty = faulty;
    this.#translations = translations;
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#random(list.length)];
  }

  #word(): string {
    return this.#pick(['A', 'A', 'B', 'C']);
  }

  /** Statements within locks: `held` is the last in the order of locks that may not be taken again. */
  block(count: number, held: number): string {
    return Array.from({ length: count }, () => this.#statement(held)).join('\n');
  }

  #statement(held: number): string {
    const random = this.#random;
    const atomic = held >= SPIN0;
    switch (random(20)) {
      case 0:
      case 1:
        return `yield* writeOnce(o, ${this.#word()}, ${random(3)});`;
      case 2:
      case 3:
        return `t = t * 3 + (yield* readOnce(o, ${this.#word()}));`;
      case 4:
        return `${random(2) ? 't += ' : ''}yield* atomicAdd(o, ${this.#word()}, 1);`;
      case 5:
        return `t += yield* cmpxchg(o, ${this.#word()}, ${random(2)}, ${random(3)});`;
      case 6:
      case 7:
      case 8:
      case 9:
      case 10:
        return this.#locked(held);
      case 11:
        return this.#tried(held);
      case 12:
      case 13:
        return this.#object(atomic);
      case 14:
      case 15:
        return this.#page();
      case 16:
        return `yield* rcuReadLock();\n${this.block(1 + random(2), SPIN0)}\nyield* rcuReadUnlock();`;
      case 17:
        return `t = t * 2 + ((yield* entryGet(at, 0)) === 0 ? 0 : 1);`;
      case 18:
        if (this.#translations) return this.#user(atomic);
        return random(3) === 0 && !atomic
          ? `yield* waitFor(o, ${this.#word()}, ${random(3)});`
          : `yield* localIrqDisable();\n${this.block(1, SPIN0)}\nyield* localIrqEnable();`;
      default:
        return this.#broken();
    }
  }

  #locked(held: number): string {
    const random = this.#random;
    const locks = [SEM, FOLIO, SPIN0, SPIN0, SPIN1, PTL].filter((lock) => lock > held);
    if (locks.length === 0) return `t = t * 3 + (yield* readOnce(o, ${this.#word()}));`;
    const lock = this.#pick(locks);
    const body = this.block(1 + random(2), lock);
    const keeps = this.#faulty && random(30) === 0;
    switch (lock) {
      case SEM: {
        const kind = random(3);
        if (kind === 0) return `yield* downRead(o + SEM);\n${body}\n${keeps ? '' : 'yield* upRead(o + SEM);'}`;
        if (kind === 1) return `yield* downWrite(o + SEM);\n${body}\nyield* upWrite(o + SEM);`;
        return `yield* downWrite(o + SEM);\n${body}\nyield* downgradeWrite(o + SEM);\n${this.block(1, lock)}\nyield* upRead(o + SEM);`;
      }
      case FOLIO:
        return `yield* folioLock(page);\n${body}\nyield* folioUnlock(page);`;
      case SPIN0:
        return `yield* spinLock(o + SPIN0);\n${random(2) ? 'set(o, G, get(o, G) + 1);\n' : 't += get(o, G);\n'}${body}\n${keeps ? '' : 'yield* spinUnlock(o + SPIN0);'}`;
      case SPIN1:
        return `yield* spinLock(o + SPIN1);\nset(o, H, get(o, H) * 2 + ${random(2)});\n${body}\nyield* spinUnlock(o + SPIN1);`;
      default:
        return `yield* spinLock(ptl);\n${this.#entry()}\n${body}\n${random(2) ? `${this.#entry()}\n` : ''}yield* spinUnlock(ptl);`;
    }
  }

  #entry(): string {
    const place = this.#pick(['at', 'at', 'at2']);
    // What stands there is put back: nobody but these programs knows of it.
    switch (this.#random(this.#translations ? 4 : 3)) {
      case 0:
        return `t = t * 2 + ((yield* entryGet(${place}, 0)) === 0 ? 0 : 1);`;
      case 1:
        return `t = t * 2 + ((yield* entryGetAndClear(${place}, 0)) === 0 ? 0 : 1);`;
      case 2:
        return `yield* entrySet(${place}, 0, ${this.#pick(['0', place === 'at' ? 'entry' : 'entry2'])});`;
      default:
        return 'yield* flushTlbRange(mm, vpn, vpn + 2);';
    }
  }

  #tried(held: number): string {
    const body = this.block(1, SPIN1);
    switch (this.#random(5)) {
      case 0:
        return `if ((yield* downReadTrylock(o + SEM)) !== 0) {\n${body}\nyield* upRead(o + SEM);\n} else t += 5;`;
      case 1:
        return `if ((yield* downWriteTrylock(o + SEM)) !== 0) {\n${body}\nyield* upWrite(o + SEM);\n} else t += 7;`;
      case 2:
        return `if ((yield* folioTrylock(page)) !== 0) {\n${body}\nyield* folioUnlock(page);\n} else t += 11;`;
      default:
        return held < SPIN0
          ? `if ((yield* spinTrylock(o + SPIN0)) !== 0) {\nset(o, G, get(o, G) + 1);\n${body}\nyield* spinUnlock(o + SPIN0);\n} else t += 13;`
          : body;
    }
  }

  #object(atomic: boolean): string {
    const q = `q${++this.#names}`;
    switch (this.#random(4)) {
      case 0:
        return `const ${q} = yield* ${atomic ? 'kmallocNowait' : 'kmalloc'}(TYPE);\nyield* writeOnce(${q}, A, ${1 + this.#random(2)});\nyield* atomicAdd(${q}, B, 1);\nif ((yield* cmpxchg(o, NEXT, 0, ${q})) !== 0) yield* kfree(TYPE, ${q});`;
      case 1:
        return `const ${q} = yield* ${atomic ? 'kmallocNowait' : 'kmalloc'}(TYPE);\nyield* writeOnce(${q}, A, 2);\nt += yield* readOnce(${q}, A);\nyield* kfree(TYPE, ${q});`;
      case 2:
        return `const ${q} = yield* readOnce(o, NEXT);\nif (${q} !== 0) t = t * 3 + (yield* readOnce(${q}, A));`;
      default:
        return `const ${q} = yield* readOnce(o, NEXT);\nif (${q} !== 0 && (yield* cmpxchg(o, NEXT, ${q}, 0)) === ${q}) {\nt += yield* atomicAdd(${q}, B, 1);\nyield* kfree(TYPE, ${q});\n}`;
    }
  }

  #page(): string {
    const p = `p${++this.#names}`;
    switch (this.#random(7)) {
      case 0:
        return `yield* refAdd(page, 1);\n${this.block(1, PTL)}\nyield* refAdd(page, -1);`;
      case 1:
        return `t = t * 2 + ((yield* setFlags(page, ${1 << (10 + this.#random(2))})) === 0 ? 0 : 1);`;
      case 2:
        return `yield* clearFlags(page, ${1 << (10 + this.#random(2))});`;
      case 3:
        return `yield* mapcountAdd(page, 1);\n${this.block(1, PTL)}\nyield* mapcountAdd(page, -1);`;
      case 4:
        return `const ${p} = yield* allocPage(GFP & ~0x400, 0);\nyield* setFlags(${p}, 1024);\nyield* refAdd(${p}, 1);\nyield* refAdd(${p}, -2);\nyield* clearFlags(${p}, -1);\nyield* freePage(${p}, 0);`;
      case 5:
        return `const ${p} = yield* allocPage(GFP & ~0x400, 0);\nif ((yield* cmpxchg(o, PAGE, 0, ${p})) !== 0) {\nyield* refAdd(${p}, -1);\nyield* freePage(${p}, 0);\n}`;
      default:
        return `const ${p} = yield* readOnce(o, PAGE);\nif (${p} !== 0 && (yield* refGetUnlessZero(${p})) !== 0) {\nif ((yield* readOnce(o, PAGE)) === ${p}) t += 3;\nif ((yield* cmpxchg(o, PAGE, ${p}, 0)) === ${p}) yield* refAdd(${p}, -1);\nif ((yield* refAdd(${p}, -1)) === 0) yield* freePage(${p}, 0);\n}`;
    }
  }

  #user(atomic: boolean): string {
    if (atomic) return 'yield* flushTlbRange(mm, vpn, vpn + 1);';
    return this.#random(2)
      ? `t += (yield* userLoad(mm, pgd, vpn + ${this.#random(2)})) === 0 ? 0 : 1;`
      : `t += yield* userStore(mm, pgd, vpn + ${this.#random(2)}, ${this.#random(3)});`;
  }

  #broken(): string {
    if (!this.#faulty || this.#random(8) > 0) return `yield* writeOnce(o, ${this.#word()}, ${this.#random(3)});`;
    switch (this.#random(5)) {
      case 0:
        return 'yield* spinUnlock(o + SPIN0);';
      case 1:
        return 'yield* upWrite(o + SEM);';
      case 2:
        return 'yield* refAdd(page, -1);';
      case 3:
        return 'yield* entrySet(at, 0, 0);';
      default:
        return 'yield* downRead(o + SEM);';
    }
  }
}

const OPS =
  'allocPage, atomicAdd, clearFlags, cmpxchg, downgradeWrite, downRead, downReadTrylock, downWrite, downWriteTrylock, entryGet, entryGetAndClear, entrySet, flushTlbRange, folioLock, folioTrylock, folioUnlock, freePage, get, kfree, kmalloc, kmallocNowait, localIrqDisable, localIrqEnable, mapcountAdd, rcuReadLock, rcuReadUnlock, readOnce, refAdd, refGetUnlessZero, set, setFlags, spinLock, spinTrylock, spinUnlock, upRead, upWrite, userLoad, userStore, waitFor, writeOnce';

const CONSTANTS = {
  A: Sample.a,
  B: Sample.b,
  C: Sample.c,
  G: Sample.g,
  H: Sample.h,
  NEXT: Sample.next,
  PAGE: Sample.page,
  SPIN0: Sample.spin0,
  SPIN1: Sample.spin1,
  SEM: Sample.sem,
  TYPE: Sample.$type,
  GFP: GFP_KERNEL,
};

export interface LockedProgram {
  readonly scenario: Scenario;
  readonly text: string;
}

/** What is left when all tasks are done, without addresses. */
function tellEnding({ results, notes, process, page: size }: Ending): string {
  const objects = new Map<number, number>();
  const telling: string[] = [];
  const page = (p: number): string => (p === 0 ? '-' : `page ${pageRefcount[p]} ${pageFlags[p]} ${pageMapcount[p]}`);
  const object = (ref: number): string => {
    if (ref === 0) return '-';
    if (heap[ref] < 0) return 'freed';
    const known = objects.get(ref);
    if (known !== undefined) return `#${known}`;
    objects.set(ref, objects.size);
    const words = [Sample.a, Sample.b, Sample.c, Sample.g, Sample.h, Sample.spin0, Sample.spin1, Sample.sem, Sample.sem + 1].map((field) => heap[ref + field]);
    return `{${words.join(' ')} ${object(heap[ref + Sample.next])} ${page(heap[ref + Sample.page])}}`;
  };
  telling.push(JSON.stringify(results), object(notes.o), page(notes.page), String(size));
  for (const vpn of [WINDOW, WINDOW + 1]) telling.push(loadEntry(mmuEntry(get(process.mm, Mm.pgd), vpn), 0).toString(16));
  return telling.join(' | ');
}

/** `endings`: hears of every ending. */
export function lockedProgram(seed: number, endings: (told: string) => void): LockedProgram {
  const random = randomNumbers(seed);
  const faulty = random(4) === 0;
  const translations = random(3) === 0;
  const program = new Program(random, faulty, translations);
  const names = ['a', 'b', 'c'].slice(0, 2 + (random(4) === 0 ? 1 : 0));
  const like = random(6) === 0;
  let functions = names.map(() => Array.from({ length: 1 + (random(4) === 0 ? 1 : 0) }, () => program.block(1 + random(names.length === 3 ? 2 : 3), -1)));
  if (like) functions = functions.map(() => functions[0]);
  const parameters = 'o, page, at, at2, entry, entry2, ptl, mm, pgd, vpn';
  const text = names
    .flatMap((name, i) => functions[like ? 0 : i].map((body, n) => ({ name: `${like ? 'a' : name}${n}`, body })))
    .filter(({ name }, i, all) => all.findIndex((other) => other.name === name) === i)
    .map(({ name, body }) => `export function* ${name}(${parameters}) {\nlet t = 0;\n${body}\nreturn t;\n}`)
    .join('\n');
  const constants = Object.entries(CONSTANTS)
    .map(([name, value]) => `const ${name} = ${value};`)
    .join('\n');
  const kernel = kernelText(`import { ${OPS} } from './ops.ts';\n${constants}\n${text}`);
  const speculate = translations && random(2) === 0;
  const shared = random(6) === 0;
  return {
    text,
    scenario: scenario({
      id: `locked-${seed}`,
      title: text,
      setup(stage) {
        map(stage, WINDOW, 2);
        store(stage, WINDOW, 1);
        store(stage, WINDOW + 1, 2);
        stage.machine.enter();
        const o = alloc(Sample);
        set(o, Sample.a, 1);
        const pgd = get(stage.process.mm, Mm.pgd);
        const [at, at2] = [mmuEntry(pgd, WINDOW), mmuEntry(pgd, WINDOW + 1)];
        Object.assign(stage.notes, {
          o,
          page: allocPages(0, GFP_KERNEL),
          at,
          at2,
          entry: loadEntry(at, 0),
          entry2: loadEntry(at2, 0),
          ptl: -pageOfEntry(at),
          mm: stage.process.mm,
          pgd,
        });
      },
      ...(speculate ? { hardware: (): Hardware => ({ speculate: [WINDOW] }) } : {}),
      tasks: Object.fromEntries(
        names.map((name, i) => [
          name,
          ({ notes: n }) => ({
            ...task(
              ...functions[like ? 0 : i].map((_, k) =>
                call(kernel[`${like ? 'a' : name}${k}`], n.o, n.page, n.at, n.at2, n.entry, n.entry2, n.ptl, n.mm, n.pgd, WINDOW),
              ),
            ),
            ...(shared ? { cpu: 0 } : {}),
          }),
        ]),
      ),
      variants: { plain: { expect: 'clean' } },
      holds: {
        told: (ending) => {
          endings(tellEnding(ending));
          return undefined;
        },
      },
    }),
  };
}
