/** E23: writeback takes the right to write away from entries; a CPU that is not flushed writes on unnoticed. */
import { pageAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { diskFile, map, store, WINDOW } from '../explore/setup.ts';
import { dirtyOrOnDisk } from './support/pages.ts';

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
    I6: (ending) => dirtyOrOnDisk(ending, pageAt(ending.process.ref, WINDOW)),
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
