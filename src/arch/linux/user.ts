/**
 * User space as Linux lays it out in each mode: where it ends, where stacks begin, and what the root registers hold while a process runs.
 *
 * Invariants: bytes are exact JavaScript numbers; a limit is that of a native task of a kernel with the split and the
 * number of levels that the mode stands for, without personalities (ADDR_LIMIT_32BIT) and compat tasks.
 */
import type { PagingMode, Registers } from '../mode.ts';

export interface UserLimits {
  /** TASK_SIZE: end of user space, bytes. */
  readonly taskSize: number;
  /** DEFAULT_MAP_WINDOW: mmap without a higher hint stays below. TASK_SIZE where the architecture has no such thing. */
  readonly mapWindow: number;
  /** STACK_TOP before randomisation; what the vdso takes below it on some architectures is not taken off. */
  readonly stackTop: number;
  /** Lowest address for processes without CAP_SYS_RAWIO: vm.mmap_min_addr as CONFIG_LSM_MMAP_MIN_ADDR sets it. */
  readonly mmapMinAddr: number;
  /** Kernel files that it follows. */
  readonly source: string;
}

type Limits = Pick<UserLimits, 'taskSize' | 'source'> & Partial<UserLimits>;

const GiB = 2 ** 30;

/** By mode, or by family where its modes agree. */
function limitsOf(mode: PagingMode): Limits {
  const { name, vaBits } = mode;
  const page = 2 ** mode.pageShift;
  switch (mode.family) {
    case 'x86': {
      const source = 'arch/x86/include/asm/page_64_types.h, page_32_types.h, processor.h';
      if (vaBits === 32) return { taskSize: 3 * GiB, source };
      const window = 2 ** 47 - page;
      return { taskSize: 2 ** (vaBits - 1) - page, mapWindow: window, stackTop: window, source };
    }
    case 'arm':
      // Modules lie in the 16 MiB below PAGE_OFFSET.
      return { taskSize: 3 * GiB - 2 ** 24, mmapMinAddr: 32768, source: 'arch/arm/include/asm/memory.h (CONFIG_VMSPLIT_3G), processor.h' };
    case 'arm64': {
      // Kernels for 52 bits keep to what the smaller configuration has unless a hint asks for more (VA_BITS_MIN).
      const window = 2 ** (vaBits === 52 ? (name.includes('-16k-') ? 47 : 48) : vaBits);
      return { taskSize: 2 ** vaBits, mapWindow: window, stackTop: window, mmapMinAddr: 32768, source: 'arch/arm64/include/asm/processor.h, memory.h' };
    }
    case 'riscv': {
      const source = 'arch/riscv/include/asm/pgtable.h (TASK_SIZE), processor.h (DEFAULT_MAP_WINDOW)';
      // RV32: up to the fixmap.
      if (vaBits === 32) return { taskSize: 0x9c800000, source };
      const window = 2 ** (Math.min(vaBits, 48) - 1);
      return { taskSize: 2 ** (vaBits - 1), mapWindow: window, stackTop: window, source };
    }
    case 's390':
      // Linux's TASK_SIZE is 2^64 - 4096 and tables gain a level when a mapping needs it; four levels end at 2^53. Stacks and the vdso lie below
      // 2^42, which three levels reach.
      return {
        taskSize: 2 ** 53,
        stackTop: 2 ** 42,
        source: 'arch/s390/include/asm/processor.h (VDSO_LIMIT), arch/s390/mm/pgalloc.c (crst_table_upgrade)',
      };
    case 'powerpc':
      return powerpcLimits(mode);
    case 'loongarch': {
      // VALEN of today's cores is 48: 47 bits for each half.
      const taskSize = 2 ** Math.min(vaBits, 47);
      return {
        taskSize,
        stackTop: taskSize - page,
        source: 'arch/loongarch/include/asm/processor.h (TASK_SIZE64), arch/loongarch/kernel/process.c (stack_top)',
      };
    }
    case 'mips': {
      const taskSize = vaBits === 32 ? 2 * GiB : 2 ** 40;
      return { taskSize, source: 'arch/mips/include/asm/processor.h (TASK_SIZE64 of cores with 40 bits), arch/mips/kernel/process.c (mips_stack_top)' };
    }
    case 'sparc64':
      // TASK_SIZE leaves out only the last 16 GiB of the 64 bits; what lies below the hole in the middle is what processes use.
      return {
        taskSize: 2 ** 43,
        stackTop: 2 ** 43 - 2 ** 32,
        source: 'arch/sparc/include/asm/processor_64.h (STACK_TOP64), arch/sparc/mm/init_64.c (sparc64_va_hole_bottom)',
      };
    case 'm68k':
      return { taskSize: name === 'm68k-coldfire' ? 0xc0000000 : 0xf0000000, source: 'arch/m68k/include/asm/processor.h' };
    case 'parisc':
      return { taskSize: 0xfff00000, source: 'arch/parisc/include/asm/processor.h (DEFAULT_TASK_SIZE32)' };
    case 'alpha':
      return { taskSize: 2 ** 42, stackTop: 0x120000000, source: 'arch/alpha/include/asm/processor.h' };
    default:
      throw new RangeError(`nothing is known of user space in mode ${name}`);
  }
}

function powerpcLimits(mode: PagingMode): Limits {
  const { name } = mode;
  const source32 = 'arch/powerpc/include/asm/task_size_32.h, Kconfig (CONFIG_TASK_SIZE)';
  if (name.startsWith('ppc-8xx')) return { taskSize: 2 * GiB, source: source32 };
  // Modules lie in the 256 MiB below PAGE_OFFSET, where they are not executable for user space.
  if (name.startsWith('ppc-book3s32')) return { taskSize: 0xb0000000, source: source32 };
  if (name.startsWith('ppc-e500')) return { taskSize: 3 * GiB, source: source32 };
  const source = 'arch/powerpc/include/asm/task_size_64.h';
  // 4 PiB with 64K pages, of which 128 TiB without a hint; 64 TiB with 4K pages.
  return mode.pageShift === 16 ? { taskSize: 2 ** 52, mapWindow: 2 ** 47, stackTop: 2 ** 47, source } : { taskSize: 2 ** 46, source };
}

/** Where user space ends in a mode. */
export function userLimits(mode: PagingMode): UserLimits {
  const limits = limitsOf(mode);
  const mapWindow = limits.mapWindow ?? limits.taskSize;
  return { mapWindow, stackTop: mapWindow, mmapMinAddr: 65536, ...limits };
}

/**
 * The root registers of a processor that runs a process whose top table lies at a physical address (bytes): what the mode's `roots` resolve.
 * `top` names the level of that table.
 */
export function userRegisters(mode: PagingMode, table: bigint, top: string): Registers {
  switch (mode.name) {
    case 'arm-short':
      // TTBCR.N is 0: TTBR0 translates everything.
      return { ttbr0: table, ttbcr: 0n };
    case 'arm-lpae':
      // EAE; T1SZ 2: TTBR1 has the last GiB.
      return { ttbr0: table, ttbcr: 0x80020000n };
    case 'riscv-sv32':
      return { satp: (1n << 31n) | (table >> 12n) };
  }
  if (mode.family === 'arm64') return arm64Registers(mode, table);
  if (mode.family === 'riscv') return { satp: (BigInt(mode.vaBits === 39 ? 8 : mode.vaBits === 48 ? 9 : 10) << 60n) | (table >> 12n) };
  if (mode.family === 's390') {
    // Table length 3: all 2048 entries.
    const asce = table | (BigInt(['pmd', 'pud', 'p4d', 'pgd'].indexOf(top)) << 2n) | 3n;
    return { cr1: asce, cr7: asce };
  }
  // RTS 21 (52 bits of address) in 62:61 and 7:5, RPDS 13.
  if (mode.name.startsWith('ppc64-radix')) return { prte0: table | (2n << 61n) | (5n << 5n) | 13n };
  // The 68030's root pointer: no limit, a table of 4-byte descriptors.
  if (mode.name === 'm68k') return { crp: (0x80000002n << 32n) | table };
  const register = mode.roots.find((r) => r.of !== 'kernel');
  if (!register) throw new RangeError(`mode ${mode.name} has no root register for user space`);
  return { [register.names[0]]: table };
}

/** TG0 and TG1 by page shift. */
const GRANULES: Readonly<Record<number, readonly [tg0: bigint, tg1: bigint]>> = { 12: [0n, 2n], 14: [2n, 1n], 16: [1n, 3n] };

function arm64Registers(mode: PagingMode, table: bigint): Registers {
  const size = BigInt(64 - mode.vaBits);
  const [tg0, tg1] = GRANULES[mode.pageShift];
  const low = (1n << 48n) - 1n;
  return { ttbr0_el1: (table & low) | ((table >> 48n) << 2n), tcr_el1: size | (tg0 << 14n) | (size << 16n) | (tg1 << 30n) };
}
