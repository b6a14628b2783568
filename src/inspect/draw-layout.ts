/** Layouts as text: tables from left to right, what each entry maps, the page sizes below the level that they sit in. */
import type { CompiledMode } from '../pagetable/compile.ts';
import { aligned, cut, padded, pageSizeText, wrapped } from './draw-text.ts';
import { type Layout, type LayoutLeaf, type LayoutLevel, layoutOf, layoutsFor, leafMark, leafText } from './layout.ts';

/** Small pictures of a leaf: cells of its table. */
const GLYPHS: Readonly<Record<LayoutLeaf['representation'], string>> = { leaf: '■', contiguous: '■■■', replicated: '===', hugepd: '◆→■' };

export const LEGEND = '■ one entry   ■■■ n entries in a row, each its part   === n entries alike   ◆→■ a huge page directory with n huge entries';

/** The picture of one mode, with its form before hugepd's removal where it had one. */
export function layoutText(name: string, width: number): string[] {
  const parts = layoutsFor(name);
  const lines: string[] = [];
  parts.forEach(({ when, layout }, i) => {
    if (i > 0) lines.push('');
    lines.push(
      ...wrapped(`${layout.mode.mode.name}: ${layout.mode.mode.title}${when && !layout.mode.mode.title.includes('director') ? `, ${when}` : ''}`, width, '  '),
      '',
    );
    lines.push(...picture(layout, width), '', ...sizes(layout, width));
  });
  return lines;
}

/** Widest box, without its frame. */
const BOX = 17;

function picture(layout: Layout, width: number): string[] {
  const { levels } = layout;
  // Boxes shrink for narrow windows; what does not fit is cut.
  const box = Math.max(8, Math.min(BOX, Math.floor((width + 4) / levels.length) - 6));
  const gap = '    ';
  const row = (cell: (l: LayoutLevel, i: number) => string, between = gap): string =>
    levels
      .map((l, i) => padded(cut(cell(l, i), box + 2), box + 2))
      .join(between)
      .trimEnd();
  const bytes = (l: LayoutLevel): number => l.level.pages * 2 ** layout.mode.mode.pageShift;
  const inside = (text: string): string => `│${padded(cut(` ${text}`, box), box)}│`;
  const lines = [
    row((l) => ` ${[l.level.level.name, ...l.folded].join('=')}`),
    row((l) => ` ${l.level.level.manual}`),
    row(() => `┌${'─'.repeat(box)}┐`),
    row((l) => inside(`${l.level.entries} × ${l.level.stride} B`)),
    row((l) => inside(`${pageSizeText(bytes(l))} each`), '──▶ '),
    row(() => `└${'─'.repeat(box)}┘`),
  ];
  const depth = Math.max(...levels.map((l) => l.leaves.length));
  for (let i = 0; i < depth; i++)
    lines.push(
      row((l) => {
        const leaf = l.leaves[i];
        return leaf
          ? `${pageSizeText(leaf.bytes).padStart(5)} ${GLYPHS[leaf.representation]}${leaf.entries > 1 ? ` ${leaf.entries}` : ''}${leaf.tables > 1 ? ` ×${leaf.tables}` : ''}`
          : '';
      }),
    );
  return lines;
}

function sizes(layout: Layout, width: number): string[] {
  return aligned(
    layout.leaves.map((l) => [pageSizeText(l.bytes), `at ${l.level.level.name}`, leafText(l)]),
    [0],
  ).flatMap((line) => wrapped(`  ${line}`, width, '      '));
}

/** All modes, one line each: the sizes below each level. */
export function overviewText(modes: readonly CompiledMode[]): string[] {
  const names = ['pgd', 'p4d', 'pud', 'pmd', 'pte'];
  const rows = modes.map((mode) => {
    const layout = layoutOf(mode);
    const at = (name: string): string => {
      const level = layout.levels.find((l) => l.level.level.name === name);
      if (level === undefined) return '·';
      return level.leaves.map(leafMark).join(', ') || '─';
    };
    return [mode.mode.name, ...names.map(at)];
  });
  return [
    ...aligned([['mode', ...names], ...rows]),
    '',
    '─ tables only   · folded   c16 16 entries in a row   r16 16 entries alike   ×2 in each of two tables',
  ];
}

export function layoutJson(layout: Layout): Record<string, unknown> {
  const { mode } = layout;
  return {
    mode: mode.mode.name,
    title: mode.mode.title,
    levels: layout.levels.map((l) => ({
      name: l.level.level.name,
      manual: l.level.level.manual,
      shift: l.level.level.shift,
      entries: l.level.entries,
      entryBytes: l.level.stride,
      folded: l.folded,
    })),
    sizes: layout.leaves.map((l) => ({
      bytes: l.bytes,
      level: l.level.level.name,
      representation: l.representation,
      entries: l.entries,
      tables: l.tables,
      sameAddress: l.sameAddress,
      form: l.form.form.name,
    })),
  };
}
