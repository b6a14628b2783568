import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { alloc, get } from '../../src/memory/heap.ts';
import {
  listAdd,
  listAddAfter,
  listDel,
  listLast,
  pageQueueAdd,
  pageQueueAddTail,
  pageQueueDel,
  pageQueueSpliceTail,
  queueAdd,
  queueAddTail,
  queueDel,
  queueSpliceTail,
} from '../../src/memory/list.ts';
import { createState, heap, mount, pageNext, pageOfPfn, pagePrev } from '../../src/memory/state.ts';
import { array, defineStruct } from '../../src/memory/struct.ts';
import { Avc, Globals } from '../../src/mm/types.ts';
import { expectUndone } from './undo.ts';

const Heads = defineStruct('testHeads', { list: 'ref:avc', queues: array(4, 'ref:avc') });
const COUNT = 12;

interface Kind {
  readonly name: string;
  elements(): number[];
  add(head: number, e: number): void;
  addTail(head: number, e: number): void;
  del(head: number, e: number): void;
  splice(to: number, from: number): void;
  next(e: number): number;
  prev(e: number): number;
}

const kinds: Kind[] = [
  {
    name: 'of objects',
    elements: () => Array.from({ length: COUNT }, () => alloc(Avc)),
    add: (head, e) => queueAdd(head, e, Avc.next, Avc.prev),
    addTail: (head, e) => queueAddTail(head, e, Avc.next, Avc.prev),
    del: (head, e) => queueDel(head, e, Avc.next, Avc.prev),
    splice: (to, from) => queueSpliceTail(to, from, Avc.next, Avc.prev),
    next: (e) => get(e, Avc.next),
    prev: (e) => get(e, Avc.prev),
  },
  {
    name: 'of pages',
    elements: () => Array.from({ length: COUNT }, (_, i) => pageOfPfn(i * 3)),
    add: pageQueueAdd,
    addTail: pageQueueAddTail,
    del: pageQueueDel,
    splice: pageQueueSpliceTail,
    next: (e) => pageNext[e],
    prev: (e) => pagePrev[e],
  },
];

/** What a list holds, forwards; and the same backwards from its last element. */
function read(first: number, last: number, next: (e: number) => number, prev: (e: number) => number): number[][] {
  const forwards: number[] = [];
  for (let e = first; e !== 0; e = next(e)) forwards.push(e);
  const backwards: number[] = [];
  for (let e = last; e !== 0; e = prev(e)) backwards.unshift(e);
  return [forwards, backwards];
}

const steps = fc.array(fc.tuple(fc.nat(4), fc.nat(COUNT - 1), fc.nat(1)), { maxLength: 60 });

describe.each(kinds)('queue $name', (kind) => {
  it('is two arrays that elements move between, and is undone to the byte', () => {
    fc.assert(
      fc.property(steps, (list) => {
        mount(createState(1024));
        alloc(Globals);
        const head = alloc(Heads) + Heads.queues;
        const elements = kind.elements();
        expectUndone(() => {
          const models: number[][] = [[], []];
          for (const [what, which, queue] of list) {
            const e = elements[which];
            const on = models.findIndex((m) => m.includes(e));
            if (what === 4) {
              kind.splice(head + 2 * queue, head + 2 * (1 - queue));
              models[queue].push(...models[1 - queue].splice(0));
            } else if (on >= 0) {
              kind.del(head + 2 * on, e);
              models[on].splice(models[on].indexOf(e), 1);
              expect([kind.next(e), kind.prev(e)]).toEqual([0, 0]);
            } else if (what % 2 === 0) {
              kind.add(head + 2 * queue, e);
              models[queue].unshift(e);
            } else {
              kind.addTail(head + 2 * queue, e);
              models[queue].push(e);
            }
            for (const q of [0, 1]) expect(read(heap[head + 2 * q], heap[head + 2 * q + 1], kind.next, kind.prev)).toEqual([models[q], models[q]]);
          }
        });
      }),
    );
  });
});

describe('list', () => {
  it('is an array, and is undone to the byte', () => {
    fc.assert(
      fc.property(steps, (list) => {
        mount(createState(64));
        alloc(Globals);
        const head = alloc(Heads) + Heads.list;
        const elements = kinds[0].elements();
        expectUndone(() => {
          const model: number[] = [];
          for (const [what, which, choice] of list) {
            const e = elements[which];
            const at = model.indexOf(e);
            if (at >= 0) {
              listDel(head, e, Avc.next, Avc.prev);
              model.splice(at, 1);
              expect([get(e, Avc.next), get(e, Avc.prev)]).toEqual([0, 0]);
            } else if (what < 3 || model.length === 0) {
              listAdd(head, e, Avc.next, Avc.prev);
              model.unshift(e);
            } else {
              const after = choice % model.length;
              listAddAfter(model[after], e, Avc.next, Avc.prev);
              model.splice(after + 1, 0, e);
            }
            expect(read(heap[head], listLast(head, Avc.next), kinds[0].next, kinds[0].prev)).toEqual([model, model]);
          }
        });
      }),
    );
  });
});
