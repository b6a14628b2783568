/**
 * A page table of hugetlb that two processes share, with one page in it: what the entries about sharing begin with. The mapping spans all that the table can map, since
 * nothing less is shared; next to nothing of it is touched.
 */
import { call, type Stage, type TaskCall, type TaskSpec } from '../../explore/scenario.ts';
import { hasHugetlb, hugePages, hugePool, load, MAP_NORESERVE, MAP_SHARED, map, memfd, store } from '../../explore/setup.ts';
import { spanPages } from '../../kernel/arch.ts';
import { codecFor } from '../../machine/boot.ts';
import { MFD_HUGETLB } from '../../mm/file-types.ts';
import { allocPageVector } from '../../mm/gup-types.ts';
import { byProcess } from './address-spaces.ts';
import { PUNCH } from './files.ts';

const SHARING: readonly string[] = ['x86', 'arm64', 'riscv'];

/** Modes whose kernels share tables of hugetlb, and whose huge pages a scenario's RAM has room for. */
export const sharesTables = (mode: string): boolean => {
  const { mode: format, pageShift } = codecFor(mode);
  return hasHugetlb(mode) && SHARING.includes(format.family) && format.vaBits > 32 && pageShift === 12;
};

/** Pages that a table maps, and the page that the mapping begins at. */
export const tablePages = (): number => spanPages(2);
export const sharedAt = tablePages;

/** Maps the file, touches its first pages, and forks; the child (`notes.child`) has come to the table by a fault, unless not `joined`. `pages` are in the pool. */
export function sharedTable(stage: Stage, pages: number, { touched = 1, joined = true } = {}): void {
  hugePool(stage, pages);
  stage.notes.fd = memfd(stage, tablePages(), MFD_HUGETLB);
  map(stage, sharedAt(), tablePages(), { fd: stage.notes.fd, flags: MAP_SHARED | MAP_NORESERVE });
  for (let i = 0; i < touched; i++) store(stage, sharedAt() + i * hugePages(), 1);
  const child = stage.process.fork();
  if (joined) load(stage, sharedAt(), child);
  stage.notes.child = child.ref;
  stage.machine.enter();
  stage.notes.vector = allocPageVector();
}

/** The child takes the first page out of the file, by which the parent loses the table, and unmaps what it has there itself: the table is free. */
export const childFrees = (stage: Stage): TaskSpec =>
  byChild(
    stage,
    call('sysFallocate', stage.notes.child, stage.notes.fd, PUNCH, 0, hugePages() * stage.page),
    call('hugetlbUnmapTable', stage.notes.child, sharedAt(), 2),
  );

/** Calls that the child makes, on its own CPU. */
export const byChild = (stage: Stage, ...calls: readonly TaskCall[]): TaskSpec => byProcess(stage, stage.notes.child, ...calls);
