/**
 * The kernel's command line as far as it is about hugetlb: hugepagesz=, hugepages=, default_hugepagesz=, hugetlb_free_vmemmap= (hugepages_setup and its kin of mm/hugetlb.c, and what
 * hugetlb_init makes of them).
 *
 * A count belongs to the size that was named last, before the first to the default size. A count of nodes (`0:2,1:2`) is had of these nodes or not at all, a plain
 * one of all nodes in turn. What makes no sense is passed over, with a message, as a kernel that boots must.
 */
import { get, set } from '../memory/heap.ts';
import { MAX_NODES, nodeCount } from '../memory/zone.ts';
import { memparse } from '../mm/cmdline.ts';
import { globals } from '../mm/globals.ts';
import { Hstate, type HstateRef, Hugetlb } from '../mm/hugetlb-types.ts';
import { Globals } from '../mm/types.ts';
import { poolOf } from './boot-hugetlb.ts';
import type { Kernel } from './kernel.ts';

/** Pages of one size: how many in all, or of which node how many. */
export interface BootPool {
  readonly bytes: number;
  readonly pages: number;
  readonly nodes: readonly { readonly node: number; readonly pages: number }[];
}

export interface HugetlbOptions {
  /** Bytes of a page of the default size, as named; undefined: the architecture's. */
  readonly defaultBytes: number | undefined;
  readonly pools: readonly BootPool[];
  /** hugetlb_free_vmemmap=: pages of pools give back most of their struct pages; undefined: not named. */
  readonly freeVmemmap?: boolean;
  /** What was passed over. */
  readonly messages: readonly string[];
}

/** `8` or `0:2,1:2`; undefined for what is neither. */
function countsOf(text: string): Omit<BootPool, 'bytes'> | undefined {
  if (/^\d+$/.test(text)) return { pages: Number(text), nodes: [] };
  const nodes = text.split(',').map((part) => /^(\d+):(\d+)$/.exec(part));
  if (nodes.some((part) => part === null || Number(part[1]) >= MAX_NODES)) return undefined;
  const parts = nodes.map((part) => ({ node: Number(part?.[1]), pages: Number(part?.[2]) }));
  return { pages: parts.reduce((sum, { pages }) => sum + pages, 0), nodes: parts };
}

/** Reads a command line. `valid`: the sizes that the mode has, in bytes; `usual`: the one that is the default if none is named. Other words are ignored. */
export function parseHugetlbOptions(line: string, valid: readonly number[], usual: number): HugetlbOptions {
  const messages: string[] = [];
  const named = new Map<number, Omit<BootPool, 'bytes'> | undefined>();
  let early: Omit<BootPool, 'bytes'> | undefined;
  let defaultBytes: number | undefined;
  /** The size that counts belong to; undefined before the first, NaN after one that there is not. */
  let current: number | undefined;
  let freeVmemmap: boolean | undefined;
  /** Whether it has its count. */
  let counted = false;
  for (const word of line.split(/\s+/)) {
    const [key, value = ''] = word.split('=');
    if (key === 'default_hugepagesz') {
      if (defaultBytes !== undefined) messages.push(`${word}: the default size was named before`);
      else if (!valid.includes(memparse(value))) messages.push(`${word}: there are no such pages`);
      else {
        defaultBytes = memparse(value);
        named.set(defaultBytes, named.get(defaultBytes) ?? early);
        early = undefined;
        current = defaultBytes;
        counted = false;
        continue;
      }
      if (defaultBytes === undefined) current = Number.NaN;
    } else if (key === 'hugepagesz') {
      const bytes = memparse(value);
      counted = false;
      if (!valid.includes(bytes)) messages.push(`${word}: there are no such pages`);
      else if (named.has(bytes) && (bytes !== defaultBytes || named.get(bytes) !== undefined)) messages.push(`${word}: the size was named before`);
      else {
        if (!named.has(bytes)) named.set(bytes, undefined);
        current = bytes;
        continue;
      }
      current = Number.NaN;
    } else if (key === 'hugetlb_free_vmemmap') {
      if (/^(on|1|y|Y)$/.test(value)) freeVmemmap = true;
      else if (/^(off|0|n|N)$/.test(value)) freeVmemmap = false;
      else messages.push(`${word}: is neither on nor off`);
    } else if (key === 'hugepages') {
      const counts = countsOf(value);
      if (Number.isNaN(current)) {
        messages.push(`${word}: follows no size that there is`);
        // The next one counts for the size before.
        current = [...named.keys()].at(-1);
        counted = current !== undefined && named.get(current) !== undefined;
      } else if (counted) messages.push(`${word}: the size has its count`);
      else if (counts === undefined) messages.push(`${word}: is no count`);
      else {
        if (current === undefined) early = counts;
        else named.set(current, counts);
        counted = true;
      }
    }
  }
  const standard = defaultBytes ?? usual;
  if (early !== undefined && named.get(standard) === undefined) named.set(standard, early);
  const pools: BootPool[] = [];
  for (const [bytes, counts] of named) if (counts !== undefined) pools.push({ bytes, ...counts });
  return { defaultBytes, pools, messages, ...(freeVmemmap === undefined ? {} : { freeVmemmap }) };
}

/** Bytes of a page of a pool. */
const bytesOfPool = (h: HstateRef, pageShift: number): number => 2 ** (get(h, Hstate.order) + pageShift);

/** Fills the pools of the mounted machine as a command line says. What was passed over or not had, as messages. */
export function bootHugePages(line: string, kernel: Kernel, pageShift: number): string[] {
  const hugetlb = get(globals, Globals.hugetlb);
  const pools = Array.from({ length: get(hugetlb, Hugetlb.count) }, (_, i) => get(hugetlb, Hugetlb.hstates + i));
  const usual = pools.length === 0 ? 0 : bytesOfPool(pools[get(hugetlb, Hugetlb.default)], pageShift);
  const options = parseHugetlbOptions(
    line,
    pools.map((h) => bytesOfPool(h, pageShift)),
    usual,
  );
  const messages = [...options.messages];
  if (options.defaultBytes !== undefined) {
    const wanted = options.defaultBytes;
    set(
      hugetlb,
      Hugetlb.default,
      pools.findIndex((h) => bytesOfPool(h, pageShift) === wanted),
    );
  }
  if (options.freeVmemmap === true) {
    if (get(globals, Globals.vmemmapEnd) === 0) {
      const error = kernel.makeVmemmap(get(globals, Globals.totalRam));
      if (error !== 0) messages.push(`hugetlb_free_vmemmap=on: no array of struct pages can be made (errno ${-error})`);
    }
    set(hugetlb, Hugetlb.optimizeVmemmap, 1);
  }
  for (const { bytes, pages, nodes } of options.pools) {
    const h = poolOf(bytes / 1024, pageShift);
    if (h === 0) continue;
    for (const each of nodes) {
      const before = get(h, Hstate.nr);
      if (each.node < nodeCount()) kernel.setMaxHugePagesNode(h, each.node, each.pages);
      const had = get(h, Hstate.nr) - before;
      if (had < each.pages) messages.push(`of ${each.pages} pages of ${bytes / 1024} KiB of node ${each.node} ${had} could be had`);
    }
    if (nodes.length === 0) {
      kernel.setMaxHugePages(h, pages);
      if (get(h, Hstate.nr) < pages) messages.push(`of ${pages} pages of ${bytes / 1024} KiB ${get(h, Hstate.nr)} could be had`);
    }
  }
  return messages;
}
