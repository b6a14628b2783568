/** R07, how it is asked: the page's mapping may be taken away by truncation between two looks at it, so there is one look. */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, memfd, store, WINDOW } from '../explore/setup.ts';
import { allocPageVector, FOLL_LONGTERM, FOLL_WRITE } from '../mm/gup-types.ts';

export default scenario({
  id: 'R07-truncate',
  title: 'get_user_pages_fast() asks which file a page is of while ftruncate() takes it from its file',
  source: 'gup_fast_folio_allowed(): READ_ONCE(folio->mapping), a6e79df92e4a',
  setup(stage) {
    const { machine, notes } = stage;
    notes.fd = memfd(stage, 1);
    map(stage, WINDOW, 1, { fd: notes.fd });
    store(stage, WINDOW, 1);
    machine.enter();
    notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    pin: ({ process, notes }) =>
      task(call('pinUserPagesFast', process.mm, WINDOW, 1, FOLL_WRITE | FOLL_LONGTERM, notes.vector), call('unpinUserPages', notes.vector, 0)),
    truncate: ({ process, notes }) => task(call('sysFtruncate', process.ref, notes.fd, 0)),
  },
  variants: {
    twice: {
      switches: ['gupFastMappingTwice'],
      expect: 'violation',
      rule: 'I19',
      preemptions: 1,
      note: 'there is a mapping at the first look and none at the second',
    },
    fixed: { expect: 'clean' },
  },
});
