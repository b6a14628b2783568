/**
 * E48: a page is migrated while its address space forks, unmaps it or moves it: the migration entry is copied, dropped or moved, and whoever ends the migration finds it
 * wherever it is.
 */
import { wordAt } from '../explore/look.ts';
import { call, type Ending, type Stage, scenario, type TaskSpec, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { migrate, noteFrame } from './support/migration.ts';
import { move } from './support/move.ts';

const [FORK, UNMAP, MOVE] = [0, 1, 2];
const TO = WINDOW + 8;

function other(stage: Stage): TaskSpec {
  const { process, page, notes } = stage;
  if (notes.other === UNMAP) return task(call('sysMunmap', process.ref, WINDOW * page, page));
  if (notes.other === MOVE) return task(move(stage, WINDOW, 1, TO));
  return task(call('sysFork', process.ref));
}

/** Parent and child, or the process at the new place, have what was stored. */
function content({ process, notes, results }: Ending): string | undefined {
  if (notes.other === UNMAP) return undefined;
  const places: [number, number][] = notes.other === MOVE ? [[process.ref, TO]] : [process.ref, results.other[0]].map((at) => [at, WINDOW]);
  for (const [at, vpn] of places) {
    const word = wordAt(at, vpn);
    if (word !== 1) return `process ${at} has ${word ?? 'nothing'} at page 0x${vpn.toString(16)}, and 1 was stored`;
  }
  return undefined;
}

export default scenario({
  id: 'E48',
  title: 'a page is migrated while its address space forks, unmaps or moves it',
  source: 'remove_migration_ptes(); copy_nonpresent_pte(), zap_nonpresent_ptes(), move_ptes()',
  setup(stage) {
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    noteFrame(stage);
  },
  tasks: { migrate, other },
  holds: { I29: content },
  variants: {
    'fork-skips': {
      switches: ['forkSkipsMigration'],
      notes: { other: FORK },
      expect: 'violation',
      rule: 'I29',
      preemptions: 1,
      note: 'the child does not get the page',
    },
    fork: { notes: { other: FORK }, expect: 'clean' },
    munmap: { notes: { other: UNMAP }, expect: 'clean' },
    mremap: { notes: { other: MOVE }, expect: 'clean' },
  },
});
