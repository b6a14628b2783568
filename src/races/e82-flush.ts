/** E82, the flush: a page of the direct map becomes read-only while another CPU writes to it. */
import { call, scenario } from '../explore/scenario.ts';
import { tableEntries } from '../kernel/arch.ts';
import { LINEAR_PAGES } from '../mm/direct-map.ts';
import { directMapVpn } from '../mm/kernel-layout.ts';
import { CPA_RO } from '../mm/set-memory.ts';
import { byKernel } from './support/address-spaces.ts';

export default scenario({
  id: 'E82-flush',
  title: 'set_memory_ro() of a page of the direct map that another CPU has in its TLB',
  source: 'arch/x86/mm/pat/set_memory.c: cpa_flush',
  modes: (mode) => /^(x86-|arm64-4k-48|s390x|riscv-sv39)/.test(mode),
  setup({ machine, notes }) {
    machine.enter();
    notes.error = machine.kernel.makeDirectMap(tableEntries(0), LINEAR_PAGES);
  },
  machine: { cpus: 2 },
  hardware: () => ({ speculate: [directMapVpn(7)] }),
  tasks: {
    ro: () => byKernel(call('setMemory', directMapVpn(7), 1, CPA_RO)),
    reader: () => byKernel(call('kernelLoad', directMapVpn(7))),
  },
  variants: {
    'no flush': { switches: ['cpaNoFlush'], expect: 'violation', rule: 'I4', preemptions: 0 },
    fixed: { expect: 'clean' },
  },
});
