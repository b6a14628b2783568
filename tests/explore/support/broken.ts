/**
 * Scenarios in which a task does something wrong, one for each rule that it can break: kernel code written to be broken, over a process with anonymous memory and
 * a file of each kind.
 */
import { call, type Hardware, type Scenario, type Stage, scenario, type TaskCall, type TaskSpec, task, type Variant } from '../../../src/explore/scenario.ts';
import { diskFile, map, memfd, store, WINDOW } from '../../../src/explore/setup.ts';
import { loadEntry, storeEntry } from '../../../src/kernel/arch.ts';
import { assertHeld } from '../../../src/kernel/lockdep.ts';
import { mmuEntry } from '../../../src/kernel/mmu.ts';
import { subPage } from '../../../src/memory/folio.ts';
import { __GFP_COMP, GFP_KERNEL } from '../../../src/memory/gfp.ts';
import { add, alloc, get } from '../../../src/memory/heap.ts';
import { PG_ANON_EXCLUSIVE, PG_BUDDY, PG_DIRTY, PG_HUGETLB, PG_LRU, PG_PCP, PG_TABLE } from '../../../src/memory/page-flags.ts';
import {
  heap,
  pageFlags,
  pageOfPfn,
  pagePincount,
  pageRefcount,
  setPageFlags,
  setPagePincount,
  setPageRefcount,
  setSlot,
  setWord,
  wordShift,
} from '../../../src/memory/state.ts';
import { xaErase } from '../../../src/memory/xarray.ts';
import { checkFaultResult, sanitizeFaultFlags } from '../../../src/mm/fault-flags.ts';
import { globals } from '../../../src/mm/globals.ts';
import { sanityCheckPinnedPage } from '../../../src/mm/gup-pin.ts';
import { pageAnonExclusive } from '../../../src/mm/rmap.ts';
import { Block, File, Globals, Inode, Mm, Vma } from '../../../src/mm/types.ts';
import { findVma, firstVma } from '../../../src/mm/vma-tree.ts';
import { FAULT_FLAG_WRITE, VM_FAULT_HWPOISON, VM_FAULT_HWPOISON_LARGE } from '../../../src/mm/vmf.ts';
import { PTE_DIRTY, PTE_WRITE } from '../../../src/pagetable/canonical.ts';
import { kernelText } from '../kernel-text.ts';

const FILE = WINDOW + 16;
const DISK = WINDOW + 32;

/** What a task needs to know to do something wrong. */
interface Scene {
  readonly mm: number;
  readonly pgd: number;
  readonly vma: number;
  readonly inode: number;
  readonly disk: number;
  /** Entries of the first pages: anonymous, of the memfd, of the disk's file. */
  readonly at: number;
  readonly page: number;
  readonly filePage: number;
  readonly diskPage: number;
}

const pageOf = (at: number): number => {
  const entry = loadEntry(at, 0);
  return pageOfPfn((entry - (entry & 0xfffff)) / 1048576);
};

let scene: Scene;

function setUp(stage: Stage): void {
  map(stage, WINDOW, 4);
  store(stage, WINDOW, 1);
  map(stage, FILE, 2, { fd: memfd(stage, 2) });
  store(stage, FILE, 2);
  map(stage, DISK, 2, { fd: diskFile(stage, 2) });
  store(stage, DISK, 3);
  stage.machine.enter();
  const { mm } = stage.process;
  const pgd = get(mm, Mm.pgd);
  const vma = findVma(mm, WINDOW);
  const inodeAt = (vpn: number): number => get(get(findVma(mm, vpn), Vma.file), File.inode);
  const at = mmuEntry(pgd, WINDOW);
  scene = {
    mm,
    pgd,
    vma,
    inode: inodeAt(FILE),
    disk: inodeAt(DISK),
    at,
    page: pageOf(at),
    filePage: pageOf(mmuEntry(pgd, FILE)),
    diskPage: pageOf(mmuEntry(pgd, DISK)),
  };
  setSlot(globals + Globals.ksmRun, 0);
  setSlot(globals + Globals.thpEnabled, 0);
}

const NAMES = ['mm', 'pgd', 'vma', 'inode', 'disk', 'at', 'page', 'filePage', 'diskPage'] as const;

const CONSTANTS = {
  MMAP: Mm.mmapLock,
  PTL: Mm.pageTableLock,
  IMMAP: Inode.iMmapLock,
  LOCK: Inode.lock,
  INVALIDATE: Inode.invalidateLock,
  DATA: Inode.dataLock,
  START: Vma.start,
  REFCNT: Vma.refcnt,
  O: globals,
  X: Globals.ksmRun,
  Y: Globals.thpEnabled,
  INODE: Inode.$type,
  VMA: Vma.$type,
  GFP: GFP_KERNEL,
  COMP: __GFP_COMP,
  TABLE: PG_TABLE,
  VPN: WINDOW,
};

const OPS =
  'allocPage, callRcuFreeTable, clearFlags, cmpxchg, downgradeWrite, downRead, downWrite, entireMapcountAdd, entryGet, entryGetAndClear, entrySet, folioLock, folioUnlock, freePage, get, kfree, kmalloc, localIrqDisable, localIrqEnable, mapcountAdd, rcuReadLock, rcuReadUnlock, readOnce, refAdd, set, setFlags, spinLock, spinUnlock, upRead, upWrite, userLoad, vmaReadTrylock, vmaReadUnlock, waitFor, writeOnce';

const MODULES = {
  './wrong.ts': {
    wrong: (n: number): void => WRONG[n](scene),
    assertHeld,
    checkFaultResult,
    pageAnonExclusive,
    sanitizeFaultFlags,
    sanityCheckPinnedPage,
    subPage,
  },
};

/** Tasks by their code (or a call of the mm's), and what the hardware does beside them. */
function broken(id: string, bodies: readonly (string | ((stage: Stage) => TaskCall))[], hardware: Hardware, expect: Variant['expect']): Scenario {
  const constants = Object.entries(CONSTANTS)
    .map(([name, value]) => `const ${name} = ${value};`)
    .join('\n');
  const functions = bodies
    .map((body, i) => (typeof body === 'string' ? `export function* task${i}(${NAMES.join(', ')}) {\nlet t = 0;\n${body}\nreturn t;\n}` : ''))
    .join('\n');
  const imports = `import { ${OPS} } from './ops.ts';\nimport { ${Object.keys(MODULES['./wrong.ts']).join(', ')} } from './wrong.ts';`;
  const kernel = kernelText(`${imports}\n${constants}\n${functions}`, MODULES);
  const tasks = bodies.map((body, i): [string, (stage: Stage) => TaskSpec] => [
    `task${i}`,
    (stage) => task(typeof body === 'string' ? call(kernel[`task${i}`], ...NAMES.map((name) => scene[name])) : body(stage)),
  ]);
  return scenario({
    id,
    title: bodies.join('\n'),
    setup: setUp,
    hardware: () => hardware,
    tasks: Object.fromEntries(tasks),
    variants: { broken: { expect } },
  });
}

/** What is wrong with the machine at rest, by the task that makes it so. */
const REST: Readonly<Record<string, (scene: Scene) => void>> = {
  I1: ({ page }) => setPageRefcount(page, pageRefcount[page] + 1),
  I2: ({ at }) => setPageFlags(at >> wordShift, pageFlags[at >> wordShift] & ~PG_TABLE),
  I6: ({ diskPage, pgd }) => {
    const at = mmuEntry(pgd, DISK);
    storeEntry(at, 0, loadEntry(at, 0) - (loadEntry(at, 0) & (PTE_DIRTY | PTE_WRITE)));
    setPageFlags(diskPage, pageFlags[diskPage] & ~PG_DIRTY);
  },
  I8: ({ filePage }) => setPageFlags(filePage, pageFlags[filePage] | PG_ANON_EXCLUSIVE),
  I10: ({ inode }) => void xaErase(inode + Inode.pages, 0),
  I11: ({ pgd, at }) => storeEntry(mmuEntry(pgd, WINDOW + 10), 0, loadEntry(at, 0)),
  I12: ({ mm }) => void add(mm, Mm.rss + 1, 1),
  I13: ({ mm }) => void add(mm, Mm.pgtablesBytes, 4096),
  I19: ({ inode }) => void add(inode, Inode.refcount, 1),
  I25: ({ page }) => setPageFlags(page, pageFlags[page] & ~PG_LRU),
  I26: () =>
    setPageRefcount(
      pageFlags.findIndex((flags) => (flags & (PG_BUDDY | PG_PCP)) !== 0),
      1,
    ),
  I30: () => setWord((get(globals, Globals.zeroPage) << wordShift) + 7, 1),
  I31: ({ mm }) => void add(mm, Mm.totalVm, 1),
  lock: ({ mm }) => setSlot(mm + Mm.mmapLock + 1, 1),
  leak: () => void alloc(Block),
  heap: ({ mm }) => setSlot(firstVma(mm), 0.5),
};

const UNPIN = Object.keys(REST).length;
const WRONG = [
  ...Object.values(REST),
  ({ mm, page }: Scene): void => {
    // While somebody pins under the mmap lock.
    if (heap[mm + Mm.mmapLock + 1] > 0 && pagePincount[page] > 0) setPagePincount(page, 0);
  },
];

/** ioctl PIN_BASIC_TEST of mm/gup-test.ts. */
const PIN_BASIC_TEST = 5;

export interface Broken {
  /** The rule that is broken. */
  readonly rule: string;
  readonly scenario: Scenario;
  readonly variant: string;
  /** Whether operations may be hidden: not where a task meddles with what operations alone should touch. */
  readonly reduce: boolean;
}

const of = (
  rule: string,
  id: string,
  bodies: Parameters<typeof broken>[1],
  { reduce = true, expect = 'violation', ...hardware }: Hardware & { readonly reduce?: boolean; readonly expect?: Variant['expect'] } = {},
): Broken => ({ rule, scenario: broken(id, bodies, hardware, expect), variant: 'broken', reduce });

/** Tasks that are written wrong. */
export const brokenTasks = (): Broken[] => [
  ...Object.keys(REST).map((rule, n) =>
    of(rule === 'lock' || rule === 'leak' || rule === 'heap' ? 'machine' : rule, `rest-${rule}`, [`yield* readOnce(O, X);\nwrong(${n});`]),
  ),

  of('I27', 'deadlock', ['yield* waitFor(O, X, 1);', 'yield* waitFor(O, Y, 1);']),
  of('I27', 'livelock', [
    'do { yield* writeOnce(O, X, 1); t = yield* readOnce(O, Y); } while (t !== 5);\nt = 0;',
    'do { yield* writeOnce(O, X, 2); t = yield* readOnce(O, Y); } while (t !== 5);\nt = 0;',
  ]),
  of('I27', 'no-way-out', ['for (;;) yield* readOnce(O, X);', 'for (;;) yield* readOnce(O, Y);'], { reduce: false, expect: 'clean' }),
  of('I27', 'round', ['do { t = yield* readOnce(O, Y); } while (t !== 5);']),

  of('I22', 'order-learned', [
    'yield* downWrite(inode + DATA);\nyield* downWrite(inode + LOCK);\nyield* upWrite(inode + LOCK);\nyield* upWrite(inode + DATA);',
    'yield* downWrite(inode + LOCK);\nyield* downWrite(inode + DATA);\nyield* upWrite(inode + DATA);\nyield* upWrite(inode + LOCK);',
  ]),
  of('I22', 'order-declared', [
    'yield* downWrite(inode + IMMAP);\nyield* downWrite(inode + LOCK);\nyield* upWrite(inode + LOCK);\nyield* upWrite(inode + IMMAP);',
  ]),
  of('I22', 'twice', ['yield* downRead(mm + MMAP);\nyield* downRead(mm + MMAP);']),
  of('I22', 'same-class', ['yield* downWrite(inode + LOCK);\nyield* downWrite(disk + LOCK);']),

  of('I21', 'sleep-spin', ['yield* spinLock(mm + PTL);\nyield* downRead(mm + MMAP);']),
  of('I21', 'sleep-irqs', ['yield* localIrqDisable();\nyield* kmalloc(INODE);']),
  of('I21', 'sleep-rcu', ['yield* rcuReadLock();\nyield* allocPage(GFP, 0);']),

  of('I23', 'spin-not-held', ['yield* spinUnlock(mm + PTL);']),
  of('I23', 'read-not-held', ['yield* upRead(mm + MMAP);']),
  of('I23', 'write-not-held', ['yield* upWrite(mm + MMAP);']),
  of('I23', 'read-of-others', [
    'yield* downRead(mm + MMAP);\nyield* waitFor(O, X, 1);\nyield* upRead(mm + MMAP);',
    'yield* upRead(mm + MMAP);\nyield* writeOnce(O, X, 1);',
  ]),
  of('I23', 'vma-not-held', ['yield* vmaReadUnlock(O, X);']),
  of('I23', 'kept', ['yield* downRead(mm + MMAP);']),
  of('I23', 'kept-rcu', ['yield* rcuReadLock();']),
  of('I23', 'kept-irqs', ['yield* localIrqDisable();']),
  of('I23', 'rcu-not-inside', ['yield* rcuReadUnlock();']),
  of('I23', 'irqs-on', ['yield* localIrqEnable();']),
  of('I23', 'too-many', ['yield* writeOnce(O, X, 1);\nfor (t = 0; t < 48; t++) yield* vmaReadTrylock(O, X);']),
  of('I23', 'entry-without-lock', ['yield* entrySet(at, 0, 0);']),

  of('I23', 'asserted', ['yield* readOnce(O, X);\nassertHeld(mm + MMAP, 2);']),

  of('guard', 'guard', ['yield* readOnce(O, X);\nset(vma, START, 0);']),
  of('I19', 'freed-object', ['const q = yield* kmalloc(INODE);\nyield* kfree(INODE, q);\nt = get(q, LOCK);']),
  of('I19', 'null', ['yield* readOnce(O, X);\nt = get(0, START);']),
  of('I19', 'freed-twice', ['const q = yield* kmalloc(INODE);\nyield* kfree(INODE, q);\nyield* kfree(INODE, q);']),
  of('I19', 'freed-lock', ['const q = yield* kmalloc(INODE);\nyield* kfree(INODE, q);\nyield* spinLock(q + LOCK);']),

  of('I1', 'ref-below-zero', ['const own = yield* allocPage(GFP, 0);\nyield* refAdd(own, -2);']),
  of('I1', 'ref-of-free', ['const own = yield* allocPage(GFP, 0);\nyield* refAdd(own, -1);\nyield* freePage(own, 0);\nyield* refAdd(own, 1);']),
  of('I1', 'map-below-zero', ['const own = yield* allocPage(GFP, 0);\nyield* mapcountAdd(own, -1);']),
  of('I1', 'map-free', ['const own = yield* allocPage(GFP, 0);\nyield* refAdd(own, -1);\nyield* freePage(own, 0);\nyield* mapcountAdd(own, 1);']),
  of('I1', 'flags-of-free', ['const own = yield* allocPage(GFP, 0);\nyield* refAdd(own, -1);\nyield* freePage(own, 0);\nyield* setFlags(own, 1024);']),
  of('I1', 'lock-of-free', ['const own = yield* allocPage(GFP, 0);\nyield* refAdd(own, -1);\nyield* freePage(own, 0);\nyield* folioLock(own);']),
  of('I1', 'ref-of-tail', ['const own = yield* allocPage(GFP | COMP, 2);\nyield* refAdd(subPage(own, 1), 1);']),
  of('I1', 'map-free-whole', ['const own = yield* allocPage(GFP, 0);\nyield* refAdd(own, -1);\nyield* freePage(own, 0);\nyield* entireMapcountAdd(own, 1);']),
  of('I1', 'map-whole-below-zero', ['const own = yield* allocPage(GFP | COMP, 2);\nyield* entireMapcountAdd(own, -1);']),
  of('I26', 'free-used', ['const own = yield* allocPage(GFP, 0);\nyield* freePage(own, 0);']),

  of('I3', 'no-table', [`const own = yield* allocPage(GFP, 0);\nyield* entryGet(own * ${1 << 10}, 0);`]),
  of('I3', 'no-table-lock', ['const own = yield* allocPage(GFP, 0);\nyield* spinLock(-own);']),
  of('I3', 'freed-walked', ['yield* userLoad(mm, pgd, VPN);\nyield* callRcuFreeTable(at >> 10, 0);']),
  of('I3', 'walks-freed', ['const q = yield* allocPage(GFP, 0);\nyield* userLoad(mm, q, VPN);']),
  of('I8', 'asks-tail', [`const own = yield* allocPage(GFP | COMP, 2);\nyield* setFlags(own, ${PG_HUGETLB});\nt = pageAnonExclusive(subPage(own, 1));`]),
  of('WARN_ON', 'fault-flags', [`yield* readOnce(O, X);\nt = sanitizeFaultFlags(0, ${FAULT_FLAG_WRITE});`]),
  of('WARN_ON', 'fault-result', [`yield* readOnce(O, X);\ncheckFaultResult(${VM_FAULT_HWPOISON | VM_FAULT_HWPOISON_LARGE});`]),
  of('I8', 'pinned-shared', [`yield* clearFlags(page, ${PG_ANON_EXCLUSIVE});\nsanityCheckPinnedPage(page);`]),
  of(
    'I1',
    'pin-lost',
    [`yield* readOnce(O, X);\nwrong(${UNPIN});`, ({ process, page }) => call('gupTest', process.ref, PIN_BASIC_TEST, WINDOW * page, page, 1, 0, 0)],
    {
      reduce: false,
    },
  ),
  of('I4', 'freed-translated', ['yield* userLoad(mm, pgd, VPN);\nyield* refAdd(page, -1);\nyield* freePage(page, 0);']),
  of('I4', 'stale', [`yield* userLoad(mm, pgd, VPN);\nyield* spinLock(-(at >> 10));\nyield* entryGetAndClear(at, 0);\nyield* spinUnlock(-(at >> 10));`]),
];
