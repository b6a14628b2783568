/** A range that becomes a huge page by MADV_COLLAPSE, and a file of whose pages one is made: what the entries about collapse begin with. */
import { call, type Stage, type TaskSpec, task } from '../../explore/scenario.ts';
import { hugePages, load, MAP_PRIVATE, map, memfd, must, store, WINDOW } from '../../explore/setup.ts';
import type { Process } from '../../machine/process.ts';
import { MADV_COLLAPSE, MADV_DONTNEED } from '../../mm/madv.ts';

/** The range at WINDOW becomes a huge page. */
export const collapse = (stage: Stage): TaskSpec => collapseAt(stage, WINDOW);

/** The range at a page does. */
export const collapseAt = ({ process, page }: Stage, vpn: number): TaskSpec =>
  task(call('sysMadvise', process.ref, vpn * page, hugePages() * page, MADV_COLLAPSE));

/** Maps a file of shared memory, as long as a huge page, at WINDOW. Its descriptor. */
export function mapHugeFile(stage: Stage): number {
  const fd = memfd(stage, hugePages());
  map(stage, WINDOW, hugePages(), { fd });
  return fd;
}

/** The same, with its first page there; the child that has it there, too, by a page table of its own. */
export function sharedHugeFile(stage: Stage): Process {
  mapHugeFile(stage);
  store(stage, WINDOW, 1);
  const other = stage.process.fork();
  load(stage, WINDOW, other);
  return other;
}

/** Where the file is mapped a second time, privately. */
export const privateAt = (): number => WINDOW + hugePages();

/**
 * Maps such a file at both places. The private mapping has had so many pages of its own, the first ones: its table, which is empty again, stays when the file's pages become a
 * huge page.
 */
export function mapPrivately(stage: Stage, pages: number): void {
  const { process, page } = stage;
  const fd = mapHugeFile(stage);
  map(stage, privateAt(), hugePages(), { fd, flags: MAP_PRIVATE });
  for (let i = 0; i < pages; i++) store(stage, privateAt() + i, 2);
  must(process, 'madvise', privateAt() * page, pages * page, MADV_DONTNEED);
}

/** The pages of the file are a huge page from now on. */
export const collapseFile = ({ process, page }: Stage): number => must(process, 'madvise', WINDOW * page, hugePages() * page, MADV_COLLAPSE);
