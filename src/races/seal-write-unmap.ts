/**
 * F_SEAL_WRITE against what is left of a writable mapping.
 *
 * munmap() takes a VMA off the account of writable mappings before CPUs have forgotten their translations, and who has pinned a page of it may write when it is
 * long gone. Both hold references to the page: that is what memfd_wait_for_pins() looks at.
 */
import { wordAt } from '../explore/look.ts';
import { call, type Stage, scenario, task } from '../explore/scenario.ts';
import { MAP_PRIVATE, map, memfd, PROT_READ, store, WINDOW } from '../explore/setup.ts';
import { Cpu, firstCpu } from '../kernel/task.ts';
import { get } from '../memory/heap.ts';
import { F_ADD_SEALS, F_SEAL_WRITE, MFD_ALLOW_SEALING } from '../mm/file-types.ts';
import { Inode } from '../mm/types.ts';
import { PTE_WRITE } from '../pagetable/canonical.ts';
import { inodeOf } from './support/files.ts';

/** A mapping of the same file that is only read. */
const READER = WINDOW + 16;

/** A CPU that can write to the page at WINDOW, undefined when none can. */
function writer(): string | undefined {
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next))
    for (let i = 0; i < get(cpu, Cpu.count); i++)
      if (get(cpu, Cpu.vpns + i) === WINDOW && get(cpu, Cpu.pages + i) !== 0 && (get(cpu, Cpu.bits + i) & PTE_WRITE) !== 0)
        return `CPU ${get(cpu, Cpu.number)}`;
  return undefined;
}

const seals = ({ process, notes }: Stage): number => get(inodeOf(process.ref, notes.fd), Inode.seals);

export default scenario({
  id: 'seal-write-unmap',
  title: 'a memfd is sealed against writing while its last writable mapping is being unmapped and a CPU still translates it',
  source: 'memfd_wait_for_pins(); __tlb_remove_folio_pages(): references go after the flush; unlink_file_vma() comes before it',
  setup(stage) {
    const fd = memfd(stage, 1, MFD_ALLOW_SEALING);
    stage.notes.fd = fd;
    map(stage, WINDOW, 1, { fd });
    store(stage, WINDOW, 1);
    map(stage, READER, 1, { fd, prot: PROT_READ, flags: MAP_PRIVATE });
  },
  hardware: () => ({ speculate: [WINDOW] }),
  tasks: {
    munmap: ({ process, page }) => task(call('sysMunmap', process.ref, WINDOW * page, page)),
    seal: ({ process, notes }) => task(call('sysFcntl', process.ref, notes.fd, F_ADD_SEALS, F_SEAL_WRITE)),
  },
  always: {
    sealed: (stage) => {
      if ((seals(stage) & F_SEAL_WRITE) === 0) return undefined;
      const cpu = writer();
      return cpu === undefined ? undefined : `the file is sealed against writing, and ${cpu} can write to its page (${wordAt(stage.process.ref, WINDOW)})`;
    },
  },
  variants: {
    'no-pin-check': { switches: ['sealNoPinCheck'], expect: 'violation', rule: 'sealed', preemptions: 1, note: 'the seal asks for the account alone' },
    fixed: { expect: 'clean', note: 'the reference of the mmu_gather is one too many: EBUSY until the flush is done' },
  },
});
