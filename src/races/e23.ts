/** E23: writeback takes the right to write away from entries; a CPU that is not flushed writes on unnoticed. */
import { entryOf, pageAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { diskFile, map, store, WINDOW } from '../explore/setup.ts';
import { get } from '../memory/heap.ts';
import { PG_DIRTY } from '../memory/page-flags.ts';
import { pageFlags, pageMapping, wordShift, words } from '../memory/state.ts';
import { blockState } from '../mm/disk-block.ts';
import { BLOCK_UNWRITTEN } from '../mm/file-types.ts';
import { Block } from '../mm/types.ts';
import { PTE_DIRTY } from '../pagetable/canonical.ts';

export default scenario({
  id: 'E23',
  title: 'fsync() cleans and writes a page of a shared mapping while another thread stores to it',
  source: 'page_vma_mkclean_one(): ptep_clear_flush(); folio_clear_dirty_for_io()',
  setup(stage) {
    const fd = diskFile(stage, 1);
    stage.notes.fd = fd;
    map(stage, WINDOW, 1, { fd });
    store(stage, WINDOW, 1);
  },
  hardware: () => ({ speculate: [WINDOW] }),
  tasks: {
    fsync: ({ process, notes }) => task(call('sysFsync', process.ref, notes.fd)),
    thread: ({ process }) => task(call('threadStore', process.ref, WINDOW, 2)),
  },
  holds: {
    I6: ({ process }) => {
      const page = pageAt(process.ref, WINDOW);
      if ((pageFlags[page] & PG_DIRTY) !== 0 || (entryOf(process.ref, WINDOW) & PTE_DIRTY) !== 0) return undefined;
      const block = blockState(pageMapping[page], 0);
      const written = block > BLOCK_UNWRITTEN ? get(block, Block.words) : 0;
      return written === words[page << wordShift]
        ? undefined
        : `the disk has ${written}, the page ${words[page << wordShift]}, and nothing says that it is dirty`;
    },
  },
  variants: {
    unflushed: {
      switches: ['mkcleanNoFlush'],
      expect: 'violation',
      rule: ['I6', 'I4'],
      preemptions: 0,
      note: 'the store goes through a translation that is dirty already',
    },
    fixed: { expect: 'clean' },
  },
});
