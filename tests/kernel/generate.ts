/** Random operation lists for the running kernel and the model. A list is made from its group and seed alone. */
import { ACTIONS, type Action, memfd, tmpfs } from './actions.ts';
import { Draft, LOW, MEMLOCK_HARD } from './draft.ts';
import { beginGup, beginHugetlb, beginThp } from './huge-actions.ts';
import { CAP, MAP, O, PAGE, PR, RLIMIT } from './numbers.ts';
import type { OperationList } from './recorder.ts';

export const GROUPS = ['anon', 'file', 'fork', 'mlock', 'misc', 'gup', 'thp', 'hugetlb', 'gup-huge'] as const;
export type Group = (typeof GROUPS)[number];
/** Those with areas of their own, settings of the whole machine and thousands of pages. */
export const HUGE_GROUPS: readonly Group[] = ['thp', 'hugetlb', 'gup-huge'];

/** How often each group does what. */
const WEIGHTS: Readonly<Record<Group, Readonly<Partial<Record<Action, number>>>>> = {
  anon: {
    ...{ touch: 24, edge: 3, map: 15, unmap: 8, protect: 10, remap: 10, advise: 18, heap: 4, incore: 3, sync: 1, absurd: 3, stack: 2, droppable: 1 },
    ...{ forkLittle: 0.5, leave: 0.3, mseal: 0.3, outside: 0.5, scan: 0.5, lock: 0.5 },
  },
  file: {
    ...{
      touch: 24,
      edge: 1,
      map: 3,
      mapFile: 14,
      unmap: 6,
      protect: 6,
      remap: 7,
      advise: 11,
      incore: 2.5,
      sync: 2.5,
      descriptor: 1.5,
      truncate: 7,
      allocate: 6,
    },
    ...{ transfer: 10, seek: 1.5, seals: 1.5, nonlinear: 1.5, forkLittle: 1, leave: 0.5, segment: 1.5, outside: 0.5, absurd: 0.5, disk: 0.3, limit: 0.2 },
  },
  fork: {
    ...{ touch: 34, edge: 1, fork: 10, leave: 6, map: 6, mapFile: 3, unmap: 5, protect: 6, remap: 6, advise: 10, heap: 1.5, droppable: 0.7, stack: 0.7 },
    ...{ transfer: 1, truncate: 0.7, outside: 0.5, segment: 0.5, mseal: 0.2 },
  },
  mlock: {
    ...{ touch: 20, lock: 32, map: 11, mapFile: 4, unmap: 6, protect: 6, remap: 8, advise: 11, forkLittle: 1.7, leave: 1.5, heap: 2, stack: 1, truncate: 1 },
    ...{ limit: 0.5, droppable: 0.5, segment: 0.3, incore: 0.5 },
  },
  misc: {
    ...{
      touch: 19,
      edge: 2,
      map: 11,
      mapFile: 4,
      unmap: 7,
      protect: 9,
      remap: 8,
      advise: 9,
      mseal: 3,
      adviseOther: 6,
      scan: 7,
      forkLittle: 1.7,
      leave: 1.2,
      heap: 3,
    },
    ...{
      stack: 4,
      droppable: 3,
      clear: 0.3,
      outside: 2,
      copy: 2,
      limit: 1.5,
      control: 1.2,
      segment: 1,
      absurd: 2,
      nonlinear: 0.5,
      incore: 0.7,
      sync: 0.5,
      lock: 1,
    },
  },
  gup: {
    ...{
      touch: 20,
      edge: 1,
      copy: 22,
      outside: 16,
      splice: 12,
      forkLittle: 3,
      leave: 2,
      map: 5,
      mapFile: 3,
      unmap: 4,
      protect: 6,
      remap: 4,
      advise: 7,
      truncate: 1,
    },
    ...{ stack: 1, droppable: 0.5 },
  },
  thp: {
    ...{
      touchHuge: 34,
      mapHuge: 7,
      placeHuge: 0.7,
      mapShmem: 4,
      unmapHuge: 5,
      protectHuge: 6,
      moveHuge: 6,
      adviseHuge: 13,
      collapse: 6,
      forkLittle: 3.5,
      leave: 2.5,
    },
    ...{ policy: 3, truncateHuge: 1.5, punchHuge: 1.5, lockHuge: 1, lookHuge: 2 },
  },
  hugetlb: {
    ...{ touchPool: 34, mapPool: 12, mapPoolFile: 8, unmapPool: 8, protectPool: 4, moveHugetlb: 4, advisePool: 8, forkLittle: 4, leave: 3, poolSize: 3.5 },
    ...{ truncatePool: 2.5, allocatePool: 4.5, sealPool: 0.2, smallBeside: 1, lockPool: 1, lookPool: 2 },
  },
  'gup-huge': {
    ...{
      touchHuge: 10,
      touchPool: 10,
      copyHuge: 14,
      spliceHuge: 10,
      outsideHuge: 16,
      forkLittle: 3,
      leave: 2,
      mapHuge: 3,
      mapShmem: 2,
      mapPool: 4,
      mapPoolFile: 3,
    },
    ...{ unmapHuge: 2, unmapPool: 2, protectHuge: 3, protectPool: 3, adviseHuge: 5, advisePool: 3, collapse: 3, moveHuge: 2, truncatePool: 0.7, poolSize: 0.7 },
  },
};

/** Groups that have their own areas, and what their lists start from. */
const BEGIN: Readonly<Partial<Record<Group, (d: Draft) => void>>> = { thp: beginThp, hugetlb: beginHugetlb, 'gup-huge': beginGup };

function pipe(d: Draft): void {
  d.emit('pipe2', O.NONBLOCK);
  d.pipe = [d.opened(), d.opened()];
}

/** What the list starts from: files, a pipe, limits, a first mapping. */
function begin(d: Draft, group: Group): void {
  const { r } = d;
  if (group === 'gup-huge') pipe(d);
  const special = BEGIN[group];
  if (special !== undefined) {
    special(d);
    return;
  }
  if (group === 'mlock' && r.chance(0.6)) {
    d.emit('capdrop', CAP.IPC_LOCK);
    d.emit('setrlimit', RLIMIT.MEMLOCK, PAGE * r.pick([2, 4, 10, 16, 40]), MEMLOCK_HARD);
  } else if (group === 'misc' && r.chance(0.5)) ACTIONS.limit(d);
  if (group === 'misc' && r.chance(0.15)) d.emit('prctl', PR.SET_MDWE, r.pick([1, 1, 3]), 0, 0, 0);
  if (group !== 'anon' || r.chance(0.2))
    for (let n = group === 'file' ? r.between(1, 3) : 1; n > 0; n--) memfd(d, PAGE * r.between(1, 12) + r.pick([0, 0, 0, 100]));
  if (group === 'file') tmpfs(d);
  if (group === 'gup') pipe(d);
  const [first, bytes] = [LOW + PAGE * r.between(0, 6), PAGE * r.between(4, 16)];
  d.believe(first, bytes, true);
  d.emitRange('mmap', first, bytes, 3, MAP.PRIVATE | MAP.ANONYMOUS | MAP.FIXED, -1, 0);
  if (r.chance(0.7)) d.emit('w', first, r.between(1, 8), 1);
  if (group === 'fork' || group === 'gup') ACTIONS.fork(d);
}

/** A list of about `count` operations (some actions are several), ended by a snapshot. */
export function generate(group: Group, seed: number, count = 120): OperationList {
  const d = new Draft(`${group}/${seed}`, group !== 'mlock');
  // a state with huge pages has thousands of pages
  const snap =
    HUGE_GROUPS.includes(group) && group !== 'hugetlb' ? d.r.weighted([1, 1], [4, 2], [8, 3], [16, 3]) : d.r.weighted([1, 5], [2, 2], [3, 1], [8, 1]);
  const weights = Object.entries(WEIGHTS[group]) as [Action, number][];
  begin(d, group);
  while (d.operations.length < count) {
    d.process = d.r.pick(d.processes);
    ACTIONS[d.r.weighted<Action>(...weights)](d);
  }
  const last = snap === 1 ? [] : [{ op: 'snap', p: 0, a: [] }];
  const header = {
    ops: 1,
    group,
    name: `${group}_s${seed}`,
    purpose: `random, seed ${seed}`,
    snap,
    ...(d.noref ? { noref: 1 as const } : {}),
    ...(d.pool ? { sys: ['hugetlb'] as const } : {}),
  } as const;
  return { header, operations: [...d.operations, ...last] };
}
