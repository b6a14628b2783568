/** R44: looking for a hole in the address space, then mapping there. */
import { call, scenario, task } from '../explore/scenario.ts';
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE, WINDOW } from '../explore/setup.ts';
import { EEXIST } from '../mm/errno.ts';
import { MAP_FIXED_NOREPLACE } from '../mm/mman.ts';

const MEMORY = MAP_PRIVATE | MAP_ANONYMOUS;
const RW = PROT_READ | PROT_WRITE;

export default scenario({
  id: 'R44',
  title: 'a thread has seen that a range is free and maps it; another one maps there first and stores to it',
  source: 'a4ff8e8620d3 (mm: introduce MAP_FIXED_NOREPLACE)',
  setup() {},
  tasks: {
    prober: ({ process, page }) => task(call('sysMmap', process.ref, WINDOW * page, page, RW, MEMORY | MAP_FIXED_NOREPLACE, -1, 0)),
    other: ({ process, page }) =>
      task(
        call('sysMmap', process.ref, WINDOW * page, page, RW, MEMORY, -1, 0),
        call('threadStore', process.ref, WINDOW, 7),
        call('threadLoad', process.ref, WINDOW),
      ),
  },
  holds: {
    store: ({ results }) => (results.other[2] === 7 ? undefined : `the other thread stored 7 and loads ${results.other[2]}: its mapping was replaced`),
    place: ({ results, page }) =>
      results.prober[0] === WINDOW * page || results.prober[0] === -EEXIST
        ? undefined
        : `the range lies at 0x${results.prober[0].toString(16)}, where the thread did not want it`,
  },
  variants: {
    'map-fixed': {
      switches: ['noreplaceReplaces'],
      expect: 'violation',
      rule: 'store',
      preemptions: 1,
      note: 'MAP_FIXED: what the other thread has mapped is gone',
    },
    hint: { switches: ['noreplaceUnknown'], expect: 'violation', rule: 'place', preemptions: 1, note: 'a hint: the range comes to lie elsewhere' },
    fixed: { expect: 'clean', note: 'MAP_FIXED_NOREPLACE: there, or EEXIST' },
  },
});
