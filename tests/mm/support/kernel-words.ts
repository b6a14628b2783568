/** Words of the kernel's large pages: those that a machine wrote, and those that a captured kernel had. */
import { openImage } from '../../../src/image/node/open.ts';
import { translateAddress } from '../../../src/inspect/translate.ts';
import { kernelRegistersOf } from '../../../src/machine/capture.ts';
import type { Machine } from '../../../src/machine/machine.ts';
import { compileMode, extentsOf, findMode, formOf, type PageTables, readPageTables, rootFromRegisters } from '../../../src/pagetable/index.ts';
import type { FrameSource } from '../../../src/pagetable/source.ts';

const wordOf = ({ lo, hi }: { lo: number | undefined; hi: number | undefined }): bigint => (BigInt((hi ?? 0) >>> 0) << 32n) | BigInt((lo ?? 0) >>> 0);

/** The last entry on the way to an address. */
const lastStep = (tables: PageTables, source: FrameSource, va: bigint) => {
  const last = translateAddress(tables, source, va).steps.at(-1);
  if (last === undefined) throw new Error(`nothing at 0x${va.toString(16)}`);
  return last;
};

/** All that a leaf says besides its frame. */
function attributesAt(tables: PageTables, source: FrameSource, va: bigint): bigint {
  const step = lastStep(tables, source, va);
  const level = tables.mode.levels.find((l) => l.level.name === step.level);
  const mask = level && formOf(level, step.lo ?? 0, step.hi ?? 0)?.address?.mask;
  if (mask === undefined) throw new Error(`no leaf at 0x${va.toString(16)}`);
  return wordOf(step) & ~wordOf(mask);
}

function tablesOf(machine: Machine): PageTables {
  const compiled = machine.codec.compiled;
  return readPageTables(compiled, machine.source, rootFromRegisters(compiled, kernelRegistersOf(machine) ?? {}, 'kernel'));
}

/** The word of the leaf that maps a page of the machine's kernel. */
export const leafWord = (machine: Machine, vpn: number): bigint =>
  wordOf(lastStep(tablesOf(machine), machine.source, BigInt(vpn) << BigInt(machine.codec.pageShift)));

/** The same without its frame. */
export const leafAttributes = (machine: Machine, vpn: number): bigint =>
  attributesAt(tablesOf(machine), machine.source, BigInt(vpn) << BigInt(machine.codec.pageShift));

export interface CapturedLeaf {
  readonly mode: string;
  readonly va: bigint;
  readonly pa: bigint;
  /** Of the leaf. */
  readonly bytes: number;
  readonly write: boolean;
  /** The word without its frame: that of the first leaf of an extent, which has no others. */
  readonly attributes: bigint;
}

/** The large leaves of a captured kernel. */
export async function capturedLeaves(folder: string): Promise<CapturedLeaf[]> {
  const image = await openImage(folder);
  const name = image.folder?.meta?.mode as string;
  const mode = findMode(name);
  if (mode === undefined) throw new Error(name);
  const compiled = compileMode(mode, image.kernelRelease);
  const found: CapturedLeaf[] = [];
  for (const { registers } of image.folder?.roots ?? []) {
    let tables: PageTables;
    try {
      tables = readPageTables(compiled, image, rootFromRegisters(compiled, registers, 'kernel'));
    } catch {
      continue;
    }
    const { columns, classes } = extentsOf(tables, { half: 'kernel' });
    const shift = BigInt(mode.pageShift);
    for (let i = 0; i < columns.length; i++) {
      const c = classes[columns.kind[i]];
      if (c.kind !== 'leaf' || c.leafPages === 1) continue;
      const attributes = attributesAt(tables, image, BigInt(columns.vpn[i]) << shift);
      const bytes = c.leafPages * 2 ** mode.pageShift;
      for (let page = 0; page < columns.pages[i]; page += c.leafPages) {
        const va = BigInt(columns.vpn[i] + page) << shift;
        const pa = BigInt(columns.pfn[i] + page) << shift;
        found.push({ mode: name, va, pa, bytes, write: c.write, attributes });
      }
    }
    // All processes share the kernel's half.
    if (found.length > 0) return found;
  }
  throw new Error(`no kernel tables in ${folder}`);
}
