/** `npm run docs`: writes docs/paging-modes.md from the registry. `--check` writes nothing and fails when the file is out of date. */
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PagingMode } from '../src/arch/mode.ts';
import { allModes } from '../src/arch/registry.ts';
import { type CompiledForm, type CompiledLevel, compileMode } from '../src/pagetable/compile.ts';
import { drawForm } from '../src/pagetable/draw-form.ts';
import { sizeText } from '../src/pagetable/units.ts';

const path = join(dirname(fileURLToPath(import.meta.url)), '../docs/paging-modes.md');

function levelTable(mode: PagingMode): string[] {
  const lines = ['| level | manual | bits of the address | entries | entry bytes | table bytes | one entry spans |', '|-|-|-|-|-|-|-|'];
  for (const l of mode.levels)
    lines.push(
      `| ${l.name} | ${l.manual} | ${l.shift + l.bits - 1}:${l.shift} | ${2 ** l.bits} | ${l.stride ?? l.entryBytes} | ${l.tableBytes ?? 2 ** l.bits * (l.stride ?? l.entryBytes)} | ${sizeText(2 ** l.shift)} |`,
    );
  return lines;
}

function rights(form: CompiledForm): string[] {
  const a = form.form.allows ?? {};
  const verb = form.kind === 'table' || form.kind === 'hugepd' ? 'lets pass' : 'grants';
  const parts = Object.entries(a).map(([what, condition]) =>
    condition === '1' ? `${what} always` : condition === '0' ? `${what} never` : `${what} where \`${condition}\``,
  );
  return parts.length > 0 ? [`- ${verb}: ${parts.join('; ')}`] : [];
}

function formText(mode: PagingMode, level: CompiledLevel, form: CompiledForm): string[] {
  const { kind, form: declared } = form;
  const versions = declared.kernel ? `, Linux ${declared.kernel}` : '';
  const head = `**${declared.name}** (${kind}${versions}), where \`${declared.when}\``;
  if (kind === 'none') return [head, ''];
  const lines = [head, '', '```text', ...drawForm(level, form), '```', ''];
  if (form.docs.size > 0) lines.push(`${[...form.docs].map(([name, doc]) => `\`${name}\` ${doc}`).join('; ')}.`, '');
  const facts = [...rights(form), ...remarks(mode, form)];
  if (facts.length > 0) lines.push(...facts, '');
  return lines;
}

/** What else a form says of itself. */
function remarks(mode: PagingMode, form: CompiledForm): string[] {
  const { form: declared } = form;
  const lines: string[] = [];
  if (declared.inverted) lines.push('- the address is stored inverted');
  if (declared.mirror) lines.push(`- bits ${declared.mirror} hold the address a second time`);
  if (declared.size) lines.push(`- maps ${sizeText(declared.size)}`);
  for (const { group, leafPages } of form.groups) {
    const address = { advance: 'each maps its own part', same: 'all hold the address of the whole', ignore: 'address bits below the size mean nothing' }[
      group.address
    ];
    const more = [
      group.mayDiffer ? `may differ in \`${group.mayDiffer}\`` : '',
      group.decides ? 'the first entry decides what may differ' : '',
      group.optional ? 'a mark without a whole run means nothing' : '',
    ].filter(Boolean);
    lines.push(
      `- where \`${group.when}\`: one of ${group.entries} entries of a ${sizeText(leafPages * 2 ** mode.pageShift)} leaf; ${[address, ...more].join('; ')}`,
    );
  }
  if (form.next >= 0) lines.push(`- points to a table of level ${mode.levels[form.next].name}`);
  if (declared.window)
    lines.push(
      `- of that table, entries from bits ${declared.window.first} × ${declared.window.unit} to (bits ${declared.window.last} + 1) × ${declared.window.unit} exist`,
    );
  return lines;
}

function swapText(mode: PagingMode): string[] {
  if (mode.swap.length === 0) return [];
  const lines = ['### Swap-type entries', '', '| Linux | levels | type | offset | other |', '|-|-|-|-|-|'];
  for (const s of mode.swap) {
    const other = [s.inverted ? 'offset inverted' : '', s.always ? `always \`${s.always}\`` : '', ...Object.entries(s.flags ?? {}).map(([n, b]) => `${n} ${b}`)]
      .filter(Boolean)
      .join(', ');
    lines.push(`| ${s.kernel ?? 'all'} | ${s.levels?.join(', ') ?? 'all'} | ${s.type} | ${s.offset} | ${other} |`);
  }
  return [...lines, ''];
}

/** One mode as Markdown. */
function modeText(mode: PagingMode): string[] {
  const compiled = compileMode(mode);
  const lines = [
    `## ${mode.name}`,
    '',
    `${mode.title}. ${mode.endian === 'big' ? 'Big' : 'Little'}-endian entries, base page ${sizeText(2 ** mode.pageShift)}, ${mode.vaBits}-bit virtual and ${mode.paBits}-bit physical addresses.`,
    '',
  ];
  lines.push(...levelTable(mode), '', 'Roots:', '');
  for (const r of mode.roots)
    lines.push(
      `- \`${r.names[0]}\`${r.names.length > 1 ? ` (also ${r.names.slice(1).join(', ')})` : ''}, ${r.of === 'both' ? 'both halves' : `${r.of} half`}: ${r.doc}`,
    );
  lines.push('', `Sources: ${mode.sources.join('; ')}.`, '');
  for (const level of compiled.levels) {
    lines.push(`### ${level.level.name}: ${level.level.manual}`, '');
    if (level.level.companion !== undefined)
      lines.push(
        `Entries are pairs: bits 63:32 the word that hardware reads, bits 31:0 the one that Linux keeps ${Math.abs(level.level.companion)} bytes ${level.level.companion < 0 ? 'before' : 'behind'} it.`,
        '',
      );
    for (const form of level.forms) lines.push(...formText(mode, level, form));
  }
  return [...lines, ...swapText(mode)];
}

export function pagingModesText(): string {
  const modes = allModes();
  const head = [
    '# Paging modes',
    '',
    'Generated from the registry (`npm run docs`); do not edit. Bits are numbered from 0, the least significant, of the entry as the CPU holds it. A drawn `0` must be zero, `-` is ignored.',
    'Layouts are those of Linux 6.12 where kernels differ; conditions: `P` is set, `!P` clear, `TYPE=3` equal, `|` or, `&mask=value` on the raw word.',
    '',
    ...modes.map((m) => `- [${m.name}](#${m.name}): ${m.title}`),
    '',
  ];
  return `${[...head, ...modes.flatMap(modeText)].join('\n').trimEnd()}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = pagingModesText();
  if (process.argv.includes('--check')) {
    if (readFileSync(path, 'utf8') !== text) {
      console.log('docs/paging-modes.md is out of date: run npm run docs');
      process.exitCode = 1;
    }
  } else writeFileSync(path, text);
}
