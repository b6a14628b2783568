/** F_SEAL_WRITE against mappings through which somebody could write. */
import { entryOf } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { MAP_FIXED, MAP_SHARED, memfd, PROT_READ, PROT_WRITE, WINDOW } from '../explore/setup.ts';
import { F_ADD_SEALS, F_SEAL_WRITE, MFD_ALLOW_SEALING } from '../mm/file-types.ts';
import { PTE_WRITE } from '../pagetable/canonical.ts';

export default scenario({
  id: 'seal-write',
  title: 'a memfd is sealed against writing while another thread maps it shared, makes the mapping writable and stores',
  source: '4bb5f5d9395b (mm: allow drivers to prevent new writable mappings); memfd_add_seals(), mapping_deny_writable(), mmap_region()',
  setup(stage) {
    stage.notes.fd = memfd(stage, 1, MFD_ALLOW_SEALING);
  },
  tasks: {
    seal: ({ process, notes }) => task(call('sysFcntl', process.ref, notes.fd, F_ADD_SEALS, F_SEAL_WRITE)),
    map: ({ process, page, notes }) =>
      task(
        call('sysMmap', process.ref, WINDOW * page, page, PROT_READ, MAP_SHARED | MAP_FIXED, notes.fd, 0),
        call('sysMprotect', process.ref, WINDOW * page, page, PROT_READ | PROT_WRITE),
        call('threadStore', process.ref, WINDOW, 2),
      ),
  },
  holds: {
    sealed: ({ process, results }) => {
      if (results.seal[0] !== 0) return undefined;
      if (results.map[2] === 0) return 'the file was sealed against writing, and a store to a mapping of it succeeded';
      return (entryOf(process.ref, WINDOW) & PTE_WRITE) !== 0 ? 'the file was sealed against writing and is mapped writable' : undefined;
    },
  },
  variants: {
    unchecked: {
      switches: ['mapWritableUnchecked'],
      expect: 'violation',
      rule: 'sealed',
      preemptions: 1,
      note: 'mmap() has seen no seal; that writable mappings are denied by now it does not see',
    },
    uncounted: {
      switches: ['mayWriteUncounted'],
      expect: 'violation',
      rule: 'sealed',
      preemptions: 0,
      note: 'a mapping for reading does not keep the seal away, nor does it once mprotect() has made it writable',
    },
    fixed: { expect: 'clean' },
  },
});
