/**
 * Where in the address space the entries of walked tables lie.
 *
 * Invariant: a table that several entries point to counts at the address of the first one, in the order in which tables were found.
 */
import { vpnOf } from '../pagetable/extents.ts';
import type { PageTables, TableNode } from '../pagetable/tree.ts';

export interface Pages {
  readonly vpn: number;
  readonly pages: number;
}

export class Places {
  readonly #tables: PageTables;
  readonly #vpn: Float64Array;
  readonly #half: ('user' | 'kernel')[] = [];

  constructor(tables: PageTables) {
    this.#tables = tables;
    const { nodes, items, attributes } = tables;
    this.#vpn = new Float64Array(nodes.length).fill(-1);
    this.#vpn[0] = 0;
    // A table is found first from a table with a lower id, so one pass in order of ids is enough.
    for (const node of nodes)
      for (let i = node.from; i < node.to; i++) {
        const { kind } = attributes[items.attribute[i]];
        if (kind !== 'table' && kind !== 'hugepd') continue;
        const child = items.value[i];
        if (this.#vpn[child] >= 0 || child === 0) continue;
        const place = this.of(node, items.index[i], 1);
        this.#vpn[child] = place.range.vpn;
        this.#half[child] = place.half;
      }
  }

  of(node: TableNode, index: number, count: number): { range: Pages; half: 'user' | 'kernel' } {
    const { mode, root } = this.#tables;
    const { pages } = mode.levels[node.level];
    if (node.id !== 0) return { range: { vpn: this.#vpn[node.id] + index * pages, pages: count * pages }, half: this.#half[node.id] ?? 'user' };
    const range = root.ranges.find((r) => index >= r.from && index < r.to) ?? root.ranges[0];
    const vpn = vpnOf(range.va, mode.mode.pageShift) + (index - range.from) * pages;
    return { range: { vpn, pages: Math.min(count, range.to - index) * pages }, half: range.half };
  }
}
