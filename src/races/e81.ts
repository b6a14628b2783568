/**
 * E81: vunmap() leaves the flush to whoever purges; an address that is given out anew before it is still leads to what it led to.
 *
 * Both tasks are kernel threads: their CPUs have the kernel's tables loaded.
 */
import { call, scenario } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { pageOfPfn } from '../memory/state.ts';
import { hasKernelLayout, vmallocStart } from '../mm/kernel-layout.ts';
import { entryPfn } from '../pagetable/canonical.ts';
import { byKernel } from './support/address-spaces.ts';

export default scenario({
  id: 'E81',
  title: 'a page of vmalloc space is mapped anew before the last mapping there was flushed',
  source: 'mm/vmalloc.c: __purge_vmap_area_lazy (db64fe02258f: mm: rewrite vmap layer)',
  modes: (mode) => /^(x86-|arm|riscv-sv[345]|s390x|ppc-8xx-|ppc64-radix)/.test(mode),
  setup(stage) {
    const { machine, notes } = stage;
    // Pages of a process: mapped there, whatever the kernel does with them.
    map(stage, WINDOW, 2);
    store(stage, WINDOW, 11);
    store(stage, WINDOW + 1, 22);
    machine.enter();
    const { kernel } = machine;
    for (const i of [0, 1]) notes[`page${i}`] = pageOfPfn(entryPfn(kernel.loadedEntry(stage.process.mm, WINDOW + i)));
    // Tables and areas are there from the beginning.
    if (!hasKernelLayout()) return;
    kernel.vfree(kernel.vmalloc(1));
    kernel.vmUnmapAliases();
  },
  hardware: () => ({ speculate: [vmallocStart()] }),
  tasks: {
    first: ({ notes }) => byKernel(call('vmapLoadUnmap', notes.page0)),
    second: ({ notes }) => byKernel(call('vmapLoadUnmap', notes.page1)),
  },
  variants: {
    'given back early': {
      switches: ['vmapPurgeNoFlush'],
      expect: 'violation',
      rule: 'stale',
      preemptions: 1,
      note: 'a purge gives areas back, and flushes then',
    },
    fixed: { expect: 'clean' },
  },
  holds: {
    stale: ({ results }) =>
      results.first[0] === 12 && results.second[0] === 23
        ? undefined
        : `stale: the first page shows ${results.first[0] - 1}, the second ${results.second[0] - 1}`,
  },
});
