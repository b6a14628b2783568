/**
 * Names for parts of the kernel's address space: what VMCOREINFO says, what the mode's layout fixes, and what the tables themselves show.
 *
 * Invariants: regions are disjoint and ascending, a better source wins where two overlap; what was inferred from structure says `guessed`.
 * Addresses count in pages of the mode.
 */
import { inVersions } from '../arch/notation.ts';
import type { Image } from '../image/image.ts';
import type { CompiledMode } from '../pagetable/compile.ts';
import { forEachExtent, vpnOf } from '../pagetable/extents.ts';
import type { PageTables } from '../pagetable/tree.ts';

export interface NamedRegion {
  readonly name: string;
  /** Pages [start, end). */
  readonly start: number;
  readonly end: number;
  readonly guessed: boolean;
}

/** Pairs of VMCOREINFO numbers that bound a region (Linux's arch_crash_save_vmcoreinfo of arm64 and riscv, and others for the starts). */
const TOLD: readonly { readonly name: string; readonly start: string; readonly end?: string }[] = [
  { name: 'modules', start: 'MODULES_VADDR', end: 'MODULES_END' },
  { name: 'vmalloc', start: 'VMALLOC_START', end: 'VMALLOC_END' },
  { name: 'vmemmap', start: 'VMEMMAP_START', end: 'VMEMMAP_END' },
];

/** Named regions of the kernel half. `tables` (any root with a kernel half) lets the randomised ones be found. */
export function regionsOf(mode: CompiledMode, image: Image, tables?: PageTables): NamedRegion[] {
  const shift = mode.mode.pageShift;
  const told = TOLD.flatMap(({ name, start, end }) => {
    const from = numberOf(image, start);
    const to = end === undefined ? undefined : numberOf(image, end);
    return from !== undefined && to !== undefined && to > from ? [{ name, start: vpnOf(from, shift), end: vpnOf(to - 1n, shift) + 1, guessed: false }] : [];
  });
  const fixed = (mode.mode.regions ?? [])
    .filter((r) => inVersions(r.kernel, mode.kernel))
    .map((r) => ({ name: r.name, start: vpnOf(r.start, shift), end: vpnOf(r.end - 1n, shift) + 1, guessed: false }));
  const known = overlay([...told, ...fixed]);
  return tables === undefined ? known : overlay([...known, ...guesses(mode, known, tables)]);
}

function numberOf(image: Image, name: string): bigint | undefined {
  const text = image.vmcoreinfo?.get(`NUMBER(${name})`);
  return text !== undefined && /^(0x[0-9a-f]{1,16}|\d{1,19})$/i.test(text) ? BigInt(text) : undefined;
}

/** Disjoint regions; earlier ones in the list keep their ground, later ones get what is left. */
function overlay(list: readonly NamedRegion[]): NamedRegion[] {
  const out: NamedRegion[] = [];
  for (const region of list) {
    let pieces = [region];
    for (const taken of out) {
      pieces = pieces.flatMap((p) => {
        if (taken.end <= p.start || taken.start >= p.end) return [p];
        return [
          { ...p, end: taken.start },
          { ...p, start: taken.end },
        ].filter((q) => q.end > q.start);
      });
    }
    out.push(...pieces);
  }
  return out.sort((a, b) => a.start - b.start);
}

// ---- inference ----

interface Run {
  readonly vpn: number;
  readonly pages: number;
  readonly delta: number;
  readonly leafPages: number;
}

/** Most distinct virtual-minus-physical distances that are counted. */
const MOST_DELTAS = 4096;

/** The direct map maps most memory at one distance; on x86-64 vmalloc and vmemmap follow it in this order, at random places. */
function guesses(mode: CompiledMode, known: readonly NamedRegion[], tables: PageTables): NamedRegion[] {
  const named = known.some((r) => /^(direct map|linear map|linear mapping)/.test(r.name));
  const runs = kernelRuns(tables, known);
  const x86 = /^x86-[45]level$/.test(mode.mode.name);
  // Linux places it at a multiple of what one entry of some upper level maps: 1 GiB on x86-64, at least 2 MiB elsewhere.
  const direct = named ? undefined : directMap(runs, 2 ** ((x86 ? 30 : 21) - mode.mode.pageShift));
  if (direct === undefined) return [];
  const rest = runs.filter((r) => r.vpn >= direct.end);
  if (!x86 || rest.length === 0) return [direct];
  // vmalloc spans 32 TiB (4-level) or 12800 TiB (5-level) from a base that lies at or closely below its first mapping.
  const span = (mode.mode.vaBits > 48 ? 12800 : 32) * 2 ** 28;
  const first = Math.floor(rest[0].vpn / 2 ** 18) * 2 ** 18;
  const limit = vpnOf(0xfffffe0000000000n, 12);
  const later = rest.find((r) => r.vpn >= first + span && r.vpn < limit);
  const vmalloc = { name: 'vmalloc', start: first, end: Math.min(first + span, limit), guessed: true };
  if (later === undefined) return [direct, vmalloc];
  return [direct, vmalloc, { name: 'vmemmap', start: Math.floor(later.vpn / 2 ** 18) * 2 ** 18, end: Math.min(limit, later.vpn + 2 ** 28), guessed: true }];
}

function kernelRuns(tables: PageTables, known: readonly NamedRegion[]): Run[] {
  const runs: Run[] = [];
  let k = 0;
  forEachExtent(tables, { half: 'kernel' }, (e, classes) => {
    for (let i = 0; i < e.length; i++) {
      const cls = classes[e.kind[i]];
      const vpn = e.vpn[i];
      while (k < known.length && known[k].end <= vpn) k++;
      if (k < known.length && known[k].start <= vpn) continue;
      if (cls.kind === 'leaf' && e.count[i] === 1) runs.push({ vpn, pages: e.pages[i], delta: vpn - e.pfn[i], leafPages: cls.leafPages });
    }
    return runs.length < 1_000_000;
  });
  return runs;
}

function directMap(runs: readonly Run[], aligned: number): NamedRegion | undefined {
  const byDelta = new Map<number, { pages: number; start: number; end: number }>();
  let total = 0;
  for (const r of runs) {
    total += r.pages;
    if (r.delta % aligned !== 0) continue;
    const known = byDelta.get(r.delta);
    if (known) {
      known.pages += r.pages;
      known.end = r.vpn + r.pages;
    } else if (byDelta.size < MOST_DELTAS || r.leafPages > 1) byDelta.set(r.delta, { pages: r.pages, start: r.vpn, end: r.vpn + r.pages });
  }
  let best: { pages: number; start: number; end: number } | undefined;
  for (const candidate of byDelta.values()) if (best === undefined || candidate.pages > best.pages) best = candidate;
  // A few pages at one distance prove nothing.
  if (best === undefined || best.pages < 512 || best.pages < total / 4) return undefined;
  return { name: 'direct map', start: best.start, end: best.end, guessed: true };
}
