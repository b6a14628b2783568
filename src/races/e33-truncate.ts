/** E33, the other half: the page is truncated while writeback waits for it and a device has it pinned. Writeback must not write what is no longer the file's. */
import { blockWord } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { diskFile, map, store, WINDOW } from '../explore/setup.ts';
import { allocPageVector, FOLL_WRITE } from '../mm/gup-types.ts';
import { inodeOf } from './support/files.ts';

export default scenario({
  id: 'E33-truncate',
  title: 'a dirty page is truncated, and its place in the file written anew, while fsync() has found the old one, which a device has pinned',
  source: 'write_cache_pages(): folio->mapping is looked at under the lock of the page; truncate_inode_folio()',
  setup(stage) {
    const { machine, notes, process } = stage;
    notes.fd = diskFile(stage, 1);
    map(stage, WINDOW, 1, { fd: notes.fd });
    store(stage, WINDOW, 1);
    machine.enter();
    notes.vector = allocPageVector();
    machine.kernel.pinUserPagesFast(process.mm, WINDOW, 1, FOLL_WRITE, notes.vector);
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    fsync: ({ process, notes }) => task(call('sysFsync', process.ref, notes.fd)),
    thread: ({ process, page, notes }) =>
      task(
        call('sysFtruncate', process.ref, notes.fd, 0),
        call('sysFtruncate', process.ref, notes.fd, page),
        call('threadStore', process.ref, WINDOW, 3),
        call('sysFsync', process.ref, notes.fd),
      ),
    device: ({ notes }) => task(call('deviceWrite', notes.vector, 7)),
  },
  holds: {
    I6: ({ process, notes }) => {
      const written = blockWord(inodeOf(process.ref, notes.fd), 0);
      return written === 3 ? undefined : `the disk has ${written} after 3 was stored and written`;
    },
  },
  variants: {
    'no-mapping-check': {
      switches: ['faultNoMappingCheck'],
      expect: 'violation',
      rule: 'I6',
      preemptions: 1,
      note: 'writeback does not look whether the page that it has locked is still of the file',
    },
    fixed: { expect: 'clean' },
  },
});
