/**
 * Compares the leaves of x86 captures with what QEMU's `info tlb` printed for the same root: address, frame, size and the leaf's own flags,
 * in both halves and in both directions.
 *
 * `info tlb` prints the flags of the last entry alone (no inheritance) and only entries with P set; with PAE it prints NX as bit 63 of the frame.
 * It was printed some time before the memory was saved: an accessed bit that the kernel cleared meanwhile (page aging, Linux 7.2) is counted, not held against
 * either side.
 */
import type { ExtentClass } from '../../src/pagetable/extents.ts';

import type { PageTables } from '../../src/pagetable/tree.ts';

export interface TlbTally {
  leaves: number;
  /** Leaves that are alike but for the accessed bit. */
  aged: number;
  differences: string[];
}

/** Sections of info_tlb.txt: pid → the lines of its `info tlb`. */
export function tlbSections(text: string): Map<number, string[]> {
  const sections = new Map<number, string[]>();
  let lines: string[] | undefined;
  for (const line of text.split('\n')) {
    const head = /^### \S+ pid (\d+) info (\w+)/.exec(line);
    if (head) {
      lines = head[2] === 'tlb' ? [] : undefined;
      if (lines) sections.set(Number(head[1]), lines);
    } else if (lines && /^[0-9a-f]+: /.test(line)) lines.push(line.trim());
  }
  return sections;
}

/** The nine flags that `info tlb` prints, from the leaf's own bits. */
function flagsOf(cls: ExtentClass, lo: number, hi: number): string {
  const large = cls.leafPages > 1;
  const bit = (set: boolean, letter: string): string => (set ? letter : '-');
  return [
    bit(hi >>> 31 !== 0, 'X'),
    bit((lo & 256) !== 0, 'G'),
    bit(large, 'P'),
    bit((lo & 64) !== 0, 'D'),
    bit((lo & 32) !== 0, 'A'),
    bit((lo & 16) !== 0, 'C'),
    bit((lo & 8) !== 0, 'T'),
    bit((lo & 4) !== 0, 'U'),
    bit((lo & 2) !== 0, 'W'),
  ].join('');
}

/** Lines as `info tlb` would print them, out of pxd's own walk: straight from the items, since extents merge what differs in PAT only. */
function* ownLines(tables: PageTables, digits: number): Generator<string> {
  const { items, attributes, nodes, mode, root } = tables;
  const stack: { node: number; vpn: number; from: number; to: number }[] = [];
  for (const range of [...root.ranges].reverse()) {
    const level = mode.levels[nodes[0].level];
    stack.push({ node: 0, vpn: Number(BigInt.asUintN(64, range.va) >> 12n) - range.from * level.pages, from: range.from, to: range.to });
  }
  for (let top = stack.pop(); top; top = stack.pop()) {
    const node = nodes[top.node];
    const { pages } = mode.levels[node.level];
    for (let i = node.from; i < node.to; i++) {
      const attribute = attributes[items.attribute[i]];
      const from = Math.max(items.index[i], top.from);
      const to = Math.min(items.index[i] + items.count[i], top.to);
      for (let k = from; k < to; k++) {
        const vpn = top.vpn + k * pages;
        if (attribute.kind === 'table') {
          stack.push({ node: items.value[i], vpn, from: 0, to: mode.levels[nodes[items.value[i]].level].entries });
        } else if (attribute.kind === 'leaf' && attribute.present) {
          const pfn = items.value[i] + (items.step[i] ? (k - items.index[i]) * attribute.pages : 0);
          const flags = flagsOf({ leafPages: attribute.pages } as ExtentClass, attribute.lo, attribute.hi);
          yield `${(BigInt(vpn) << 12n).toString(16).padStart(digits, '0')}: ${(BigInt(pfn) << 12n).toString(16).padStart(digits, '0')} ${flags}`;
        }
      }
    }
  }
}

/** The line with its accessed bit the other way round. */
const withOtherAge = (line: string): string =>
  line.replace(/ (....)([A-])(....)$/, (_, before: string, a: string, after: string) => ` ${before}${a === 'A' ? '-' : 'A'}${after}`);

/** Compares one root's walk with the lines of its `info tlb`. */
export function compareTlb(tables: PageTables, lines: readonly string[]): TlbTally {
  const pae = tables.mode.mode.name === 'x86-pae';
  const theirs = new Set(lines.map((l) => (pae ? l.replace(/: [89a-f]([0-9a-f]{15})/, (_, rest: string) => `: 0${rest}`) : l)));
  const tally: TlbTally = { leaves: 0, aged: 0, differences: [] };
  const digits = 16;
  for (const line of ownLines(tables, digits)) {
    if (theirs.delete(line)) tally.leaves++;
    else if (theirs.delete(withOtherAge(line))) tally.aged++;
    else tally.differences.push(`pxd has ${line}, info tlb has not`);
  }
  for (const line of theirs) tally.differences.push(`info tlb has ${line}, pxd has not`);
  return tally;
}
