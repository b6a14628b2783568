/** E36: a page that a child has put into a pipe, against the parent's write to it. */
import { call, scenario, task } from '../explore/scenario.ts';
import { iovec, map, must, store, WINDOW } from '../explore/setup.ts';
import { get } from '../memory/heap.ts';
import { wordShift, words } from '../memory/state.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';
import { Inode, Pipe } from '../mm/types.ts';
import { byProcess } from './support/address-spaces.ts';
import { inodeOf } from './support/files.ts';

/** Where descriptors and the vector of the call stand. */
const VECTOR = WINDOW + 16;

/** First word of what a pipe holds first. */
function inPipe(process: number, fd: number): number {
  const pipe = get(inodeOf(process, fd), Inode.pipe);
  return words[get(pipe, Pipe.pages) << wordShift];
}

export default scenario({
  id: 'E36',
  title: 'after fork() the child puts a shared page into a pipe by reference and unmaps it; the parent writes to it meanwhile',
  source: '09854ba94c6a (mm: do_wp_page() simplification); CVE-2020-29374; wp_can_reuse_anon_folio()',
  setup(stage) {
    const { process, page, notes, machine } = stage;
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    map(stage, VECTOR, 1);
    must(process, 'pipe2', VECTOR * page, 0);
    notes.writer = Number(process.load(BigInt(VECTOR * page + 4), 4));
    store(stage, VECTOR, 0);
    iovec(stage, VECTOR * page, WINDOW * page, 4);
    notes.child = process.fork().ref;
    machine.enter();
  },
  tasks: {
    child: (stage) => {
      const { page, notes } = stage;
      return byProcess(
        stage,
        notes.child,
        call('sysVmsplice', notes.child, notes.writer, VECTOR * page, 1, 0),
        call('sysMadvise', notes.child, WINDOW * page, page, MADV_DONTNEED),
      );
    },
    parent: ({ process }) => task(call('threadStore', process.ref, WINDOW, 2)),
  },
  holds: {
    I9: ({ notes, process }) => {
      const seen = inPipe(process.ref, notes.writer);
      return seen === 1 ? undefined : `the pipe of the child holds ${seen}, which the parent has stored since the fork`;
    },
  },
  variants: {
    'by-mapcount': {
      switches: ['wpReuseByMapcount'],
      expect: 'violation',
      rule: 'I9',
      preemptions: 0,
      note: 'the parent writes in place as soon as it alone maps the page, whoever else has a reference',
    },
    fixed: { expect: 'clean', note: 'reuse asks for the only reference' },
  },
});
