/**
 * Kernel space as Linux lays it out in each mode without randomisation: where RAM is mapped, where vmalloc() and the array of struct page have their ranges.
 *
 * Invariants: addresses are bytes; a part is absent where the kernel reaches it without page tables (direct windows of mips and loongarch, the bolted entries of
 * book3s/64 hash) or where the mode's layout is not known here.
 */
import type { PagingMode, Registers } from '../mode.ts';
import { userRegisters } from './user.ts';

export interface KernelLayout {
  /** PAGE_OFFSET: where physical address 0 appears. */
  readonly directMap?: bigint;
  /** VMALLOC_START and VMALLOC_END (exclusive). */
  readonly vmalloc: readonly [bigint, bigint];
  /** Where struct page 0 stands (CONFIG_SPARSEMEM_VMEMMAP). */
  readonly vmemmap?: bigint;
  /** Kernel files that it follows. */
  readonly source: string;
}

/** A part of the mode's own list of regions, as Linux 6.18 has it. */
const part = (mode: PagingMode, name: string): readonly [bigint, bigint] | undefined => {
  const found = (mode.regions ?? []).filter((r) => r.name === name && (r.kernel === undefined || r.kernel.endsWith('..')));
  return found.length === 0 ? undefined : [found[0].start, found[0].end];
};

/** The layout of a mode, undefined where it is not known. */
export function kernelLayout(mode: PagingMode): KernelLayout | undefined {
  switch (mode.family) {
    case 'x86': {
      const source = 'Documentation/arch/x86/x86_64/mm.rst, arch/x86/include/asm/pgtable_32_areas.h';
      if (mode.vaBits === 32) return { directMap: 0xc0000000n, vmalloc: [0xf8000000n, 0xff800000n], source };
      if (mode.vaBits === 57)
        return { directMap: 0xff11000000000000n, vmalloc: [0xffa0000000000000n, 0xffd2000000000000n], vmemmap: 0xffd4000000000000n, source };
      return { directMap: 0xffff888000000000n, vmalloc: [0xffffc90000000000n, 0xffffe90000000000n], vmemmap: 0xffffea0000000000n, source };
    }
    case 'arm64': {
      const vmalloc = part(mode, 'vmalloc');
      const source = 'Documentation/arch/arm64/memory.rst';
      return vmalloc && { directMap: part(mode, 'linear map')?.[0], vmalloc, vmemmap: part(mode, 'vmemmap')?.[0], source };
    }
    case 'arm':
      return { directMap: 0xc0000000n, vmalloc: [0xf0000000n, 0xff800000n], source: 'Documentation/arch/arm/memory.rst' };
    case 'riscv': {
      // Half of the kernel's half (KERN_VIRT_SIZE) for RAM, up to the end; half of that below it for vmalloc. No array of struct page: 32 bits have CONFIG_FLATMEM.
      if (mode.vaBits === 32) return { directMap: 0xc0000000n, vmalloc: [0xa0000000n, 0xc0000000n], source: 'arch/riscv/include/asm/pgtable.h, page.h' };
      const vmalloc = part(mode, 'vmalloc');
      return (
        vmalloc && { directMap: part(mode, 'direct map')?.[0], vmalloc, vmemmap: part(mode, 'vmemmap')?.[0], source: 'Documentation/arch/riscv/vm-layout.rst' }
      );
    }
    case 'sparc64':
      // Processors whose hole of addresses begins at 2^43, as user space has it here (setup_page_offset).
      return {
        directMap: 0xfffff80000000000n,
        vmalloc: [0x100000000n, 0x60000000000n],
        source: 'arch/sparc/include/asm/pgtable_64.h, arch/sparc/mm/init_64.c',
      };
    case 's390':
      // An identity mapping; what is above it is laid out downwards from the end of the kernel's space, here 4 TiB.
      return {
        directMap: 0n,
        vmalloc: [0x37fe0000000n, 0x3ffe0000000n],
        vmemmap: 0x37200000000n,
        source: 'arch/s390/boot/startup.c (setup_kernel_memory_layout)',
      };
    case 'powerpc': {
      if (mode.name.startsWith('ppc-8xx') || mode.name.startsWith('ppc-book3s32'))
        return { directMap: 0xc0000000n, vmalloc: [0xf1000000n, 0xff000000n], source: 'arch/powerpc/include/asm/nohash/32/pgtable.h, book3s/32/pgtable.h' };
      const vmalloc = part(mode, 'vmalloc');
      if (vmalloc === undefined) return undefined;
      const source = 'arch/powerpc/include/asm/book3s/64/radix.h, hash.h';
      // The hash MMU maps RAM by bolted entries of its table alone.
      if (mode.name.includes('hash')) return { vmalloc, vmemmap: part(mode, 'vmemmap')?.[0], source };
      return { directMap: part(mode, 'linear map')?.[0], vmalloc, vmemmap: part(mode, 'vmemmap')?.[0], source };
    }
    default:
      return undefined;
  }
}

/**
 * What the root registers hold for kernel space with its top table at a physical address. `top`: level of that table; `below`: where the table lies that an entry of
 * it leads to, undefined where it leads to none.
 */
export function kernelRegisters(mode: PagingMode, table: bigint, top: string, below: (index: number) => bigint | undefined): Registers {
  const user = userRegisters(mode, table, top);
  const register = mode.roots.find((r) => r.of === 'kernel');
  // TTBR1 has the table of the last GiB.
  const last = mode.name === 'arm-lpae' ? below(3) : undefined;
  if (last !== undefined) return { ...user, ttbr1: last };
  // One register serves both halves.
  if (register === undefined || mode.family === 'arm') return user;
  const value = Object.values(user)[0];
  return mode.family === 'arm64' ? { [register.names[0]]: value, tcr_el1: user.tcr_el1 } : { [register.names[0]]: value };
}
