/** What a root translates, in a form that two ways of building the same mapping can be compared in. */
import type { Root } from '../../src/arch/mode.ts';
import { findMode } from '../../src/arch/registry.ts';
import { type CompiledMode, compileMode } from '../../src/pagetable/compile.ts';
import { extentsOf } from '../../src/pagetable/extents.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import type { FrameSource } from '../../src/pagetable/source.ts';
import { type PageTables, readPageTables } from '../../src/pagetable/tree.ts';

export const modeNamed = (name: string, kernel?: string): CompiledMode => {
  const mode = findMode(name);
  if (!mode) throw new Error(`there is no mode ${name}`);
  return compileMode(mode, kernel);
};

export const tablesAt = (mode: CompiledMode, source: FrameSource, pgd: bigint, half: 'user' | 'kernel' = 'user'): PageTables => {
  const root: Root = rootFromRegisters(mode, { pgd, swapper_pg_dir: pgd }, half);
  return readPageTables(mode, source, root);
};

/** One line an extent: `va-end → pa rights leaf`. */
export function translationOf(tables: PageTables): string[] {
  const { columns, classes } = extentsOf(tables, { all: true });
  const shift = BigInt(tables.mode.mode.pageShift);
  const at = (page: number): string => (BigInt(page) << shift).toString(16);
  const lines: string[] = [];
  for (let i = 0; i < columns.length; i++) {
    const c = classes[columns.kind[i]];
    const rights = `${c.read ? 'r' : '-'}${c.write ? 'w' : '-'}${c.exec ? 'x' : '-'}${c.user ? 'u' : 'k'}`;
    for (let k = 0; k < columns.count[i]; k++) {
      const vpn = columns.vpn[i] + k * columns.stride[i];
      const what = c.kind === 'leaf' ? `${at(columns.pfn[i])} ${rights} ${c.leafPages * 2 ** tables.mode.mode.pageShift}` : c.kind;
      lines.push(`${at(vpn)}-${at(vpn + columns.pages[i])} ${what}${c.attribute.broken ? ' broken' : ''}`);
    }
  }
  return lines;
}
