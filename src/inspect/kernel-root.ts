/**
 * The kernel's own root out of VMCOREINFO: SYMBOL(swapper_pg_dir) is a kernel virtual address, and each architecture says differently
 * how that becomes physical and what register value the hardware would hold.
 *
 * Invariant: nothing is walked here; a root that comes out may still be wrong, and the session drops it when the image lacks its table.
 */
import type { Registers } from '../arch/mode.ts';
import type { Image } from '../image/image.ts';
import type { CompiledMode } from '../pagetable/compile.ts';

interface Way {
  readonly modes: RegExp;
  /** Physical address of the table, or undefined when a needed fact is missing. */
  readonly physical: (va: bigint, facts: Facts) => bigint | undefined;
  readonly how: string;
  /** Register and value for a table at that address; absent: the mode's first kernel register holds the plain address. */
  readonly register?: (pa: bigint, mode: string) => Registers;
}

interface Facts {
  /** A number of VMCOREINFO under NUMBER(name) or plain KEY (hexadecimal there). */
  readonly number: (name: string) => bigint | undefined;
  readonly offset: (key: string) => bigint | undefined;
  readonly firstFrame: bigint;
}

const minus = (a: bigint, b: bigint | undefined): bigint | undefined => (b === undefined ? undefined : BigInt.asUintN(64, a - b));

const SATP_MODE: Readonly<Record<string, bigint>> = { 'riscv-sv39': 8n, 'riscv-sv48': 9n, 'riscv-sv57': 10n };

const WAYS: readonly Way[] = [
  {
    modes: /^x86-[45]level$/,
    physical: (va, f) => minus(va, f.number('phys_base') === undefined ? undefined : 0xffffffff80000000n - (f.number('phys_base') as bigint)),
    how: 'less 0xffffffff80000000, plus NUMBER(phys_base)',
  },
  { modes: /^x86-/, physical: (va) => minus(va, 0xc0000000n), how: 'less PAGE_OFFSET 0xc0000000' },
  { modes: /^arm64-/, physical: (va, f) => minus(va, f.number('kimage_voffset')), how: 'less NUMBER(kimage_voffset)' },
  {
    modes: /^arm-/,
    physical: (va, f) => va - 0xc0000000n + f.firstFrame,
    how: 'less PAGE_OFFSET 0xc0000000, plus the start of RAM in the image',
    // With LPAE the kernel's register points at the table of its last gigabyte, behind the page of the top table.
    register: (pa, mode) => ({ ttbr1: mode === 'arm-lpae' ? pa + 0x4000n : pa, ...(mode === 'arm-lpae' ? {} : { ttbr0: pa }) }),
  },
  {
    modes: /^riscv-/,
    physical: (va, f) => minus(va, f.number('va_kernel_pa_offset')),
    how: 'less NUMBER(va_kernel_pa_offset)',
    register: (pa, mode) => satp(pa, mode),
  },
  {
    modes: /^s390x$/,
    physical: (va, f) => (f.offset('KERNELOFFPHYS') === undefined ? undefined : va - (f.offset('KERNELOFFSET') ?? 0n) + (f.offset('KERNELOFFPHYS') as bigint)),
    how: 'less KERNELOFFSET, plus KERNELOFFPHYS; three levels assumed',
    register: (pa) => ({ cr13: pa | 7n }),
  },
  {
    modes: /^ppc64-radix/,
    physical: (va) => va & 0x0fffffffffffffffn,
    how: 'less 0xc000000000000000',
    register: (pa) => ({ kernel_prte0: 0x4000000000000000n | pa | 0xadn }),
  },
  { modes: /^ppc64-/, physical: (va) => va & 0x0fffffffffffffffn, how: 'less 0xc000000000000000' },
  { modes: /^ppc-/, physical: (va) => minus(va, 0xc0000000n), how: 'less PAGE_OFFSET 0xc0000000' },
  { modes: /^loongarch64/, physical: (va) => va & 0x0000ffffffffffffn, how: 'low 48 bits of its direct-mapped address' },
  { modes: /^mips/, physical: (va) => va & 0x1fffffffn, how: 'low 29 bits of its KSEG0 address' },
];

/** Register values that make the hardware walk a table at this address; several where the value holds more than the address. */
export function registersForTable(mode: CompiledMode, pa: bigint): Registers[] {
  const { name, roots } = mode.mode;
  if (name === 's390x') return [0xfn, 0xbn, 0x7n].map((type) => ({ cr1: pa | type }));
  if (name.startsWith('ppc64-radix')) return [{ prte0: 0x4000000000000000n | pa | 0xadn }];
  if (name.startsWith('riscv-')) return [satp(pa, name)];
  const own = roots.find((r) => r.of !== 'kernel') ?? roots[0];
  return [{ [own.names[0]]: pa }];
}

const satp = (pa: bigint, mode: string): Registers => ({
  satp: mode === 'riscv-sv32' ? (1n << 31n) | (pa >> 12n) : ((SATP_MODE[mode] ?? 8n) << 60n) | (pa >> 12n),
});

/** Register values under which the kernel's own tables can be walked, and how they were worked out. */
export function kernelRegisters(mode: CompiledMode, image: Image): { registers: Registers; evidence: string } | undefined {
  const symbol = image.vmcoreinfo?.get('SYMBOL(swapper_pg_dir)');
  const way = WAYS.find((w) => w.modes.test(mode.mode.name));
  if (symbol === undefined || way === undefined || !/^[0-9a-f]{1,16}$/i.test(symbol)) return undefined;
  const va = BigInt(`0x${symbol}`);
  const pa = way.physical(va, factsOf(image));
  if (pa === undefined || pa < 0n || pa >= 1n << 56n) return undefined;
  const own = mode.mode.roots.find((r) => r.of === 'kernel') ?? mode.mode.roots[0];
  return { registers: way.register?.(pa, mode.mode.name) ?? { [own.names[0]]: pa }, evidence: `VMCOREINFO: swapper_pg_dir 0x${symbol} ${way.how}` };
}

function factsOf(image: Image): Facts {
  const parse = (text: string | undefined, prefix: string): bigint | undefined => {
    if (text === undefined || !/^-?(0x)?[0-9a-f]{1,20}$/i.test(text)) return undefined;
    const negative = text.startsWith('-');
    const digits = negative ? text.slice(1) : text;
    if (prefix === '' && !/^(0x[0-9a-f]+|\d+)$/i.test(digits)) return undefined;
    const value = BigInt(digits.startsWith('0x') ? digits : prefix + digits);
    return negative ? -value : value;
  };
  return {
    number: (name) => parse(image.vmcoreinfo?.get(`NUMBER(${name})`), ''),
    offset: (key) => parse(image.vmcoreinfo?.get(key), '0x'),
    // RAM begins at a multiple of 2 MiB; the first frames of it may be missing from a trimmed image.
    firstFrame: BigInt(Math.floor((image.segments[0]?.start ?? 0) / 512)) << 21n,
  };
}
