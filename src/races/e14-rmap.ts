/**
 * E14, the other half: rmap meets the VMAs of a process that is ending, until they are unlinked; only then may its page tables go.
 */
import { pageAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, must, store, WINDOW } from '../explore/setup.ts';
import { MADV_FREE } from '../mm/madv.ts';

export default scenario({
  id: 'E14-rmap',
  title: 'reclaim of a page walks to a process that is freeing its page tables',
  source: 'free_pgtables(): unlink_anon_vmas() and unlink_file_vma() before free_pgd_range()',
  setup(stage) {
    const dying = stage.machine.spawn();
    map(stage, WINDOW, 1, {}, dying);
    store(stage, WINDOW, 1, dying);
    must(dying, 'madvise', WINDOW * stage.page, stage.page, MADV_FREE);
    stage.notes.page = pageAt(dying.ref, WINDOW);
    stage.notes.dying = dying.ref;
  },
  tasks: {
    reclaim: ({ notes }) => task(call('reclaimFolio', notes.page, 1)),
    exit: ({ notes }) => task(call('sysExit', notes.dying, 0)),
  },
  variants: {
    'tables-first': {
      switches: ['tablesBeforeUnlink', 'tableFreeAtOnce'],
      expect: 'violation',
      rule: ['I3', 'I19'],
      preemptions: 1,
      note: 'tables are freed, at once, while rmap may still come to them',
    },
    fixed: { expect: 'clean' },
  },
});
