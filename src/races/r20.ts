/**
 * R20: the lock of a page table lies in the table, or beside it: who has let it go must not take it again by what he remembers.
 *
 * The write fault lets the lock go to make its copy. Where every remover of tables holds the lock of the page, as the fault did, the table would still be there;
 * MADV_DONTNEED, which gives emptied tables back, holds no such lock.
 */
import { scenario } from '../explore/scenario.ts';
import { pageInTable, storePage, zapTable } from './support/walked-table.ts';

export default scenario({
  id: 'R20',
  title: 'a write fault copies a page while MADV_DONTNEED empties the page table and gives it back, and then locks the table again',
  source: '0d940a9b270b (mm/pgtable: allow pte_offset_map[_lock]() to fail); collapse_pte_mapped_thp(), mails of August 2023',
  setup(stage) {
    pageInTable(stage);
    stage.process.fork();
  },
  tasks: {
    zap: zapTable,
    fault: storePage,
  },
  variants: {
    remembered: {
      switches: ['ptlRemembered'],
      expect: 'violation',
      rule: 'I3',
      preemptions: 1,
      note: 'the lock went with its table; that the table has left the tree would be seen under the lock',
    },
    fixed: { expect: 'clean', note: 'the upper entry is read again, and the lock found by it, inside a read section of RCU' },
  },
});
