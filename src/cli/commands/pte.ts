/** `pxd pte`: entries taken apart, field by field. Needs no image. */
import type { Command } from 'commander';
import type { Explained } from '../../inspect/explain.ts';
import type { CompiledLevel, CompiledMode } from '../../pagetable/compile.ts';
import type { Context } from '../context.ts';
import { type Io, paint } from '../io.ts';
import { parseAddress } from '../options.ts';
import { tableLines, wrap } from '../table.ts';

interface Options {
  readonly mode?: string;
  readonly level?: string;
  readonly kernel?: string;
  readonly encode?: string;
  readonly json?: boolean;
}

const HELP = `
Examples:
  pxd pte x86-4level pte 0x8000000001234067
  pxd pte x86-4level pmd --encode 'P RW US PS address=0x40000000'
  pxd pte --mode arm64-4k-48 --level pmd --kernel 6.1 0x60000040000f11
Without a level the lowest one is meant; "all" shows what the value would be at
each level. Values are hexadecimal, as the CPU reads them (32-bit ARM's short
descriptors: hardware's word, then Linux's own, as one 64-bit number).`;

export function register(program: Command, { io }: Context): void {
  program
    .command('pte')
    .description('take page-table entries apart')
    .argument('<arguments...>', 'MODE LEVEL VALUE…, or VALUE… with --mode and --level')
    .option('-m, --mode <mode>', 'paging mode')
    .option('-l, --level <level>', 'level: pgd, p4d, pud, pmd, pte, or all')
    .option('--kernel <version>', 'as this Linux version writes its entries')
    .option('-e, --encode <fields>', 'make an entry instead: fields to set, for example "P RW US address=0x1234000"')
    .option('--json', 'one object an entry')
    .addHelpText('after', HELP)
    .action((words: string[], options: Options) => pte(words, options, io));
}

async function pte(words: readonly string[], options: Options, io: Io): Promise<void> {
  const [{ compileMode, DEFAULT_KERNEL }, { explainEntry, unnamedBits }, { findMode, modeNames }, { PxdError }] = await Promise.all([
    import('../../pagetable/compile.ts'),
    import('../../inspect/explain.ts'),
    import('../../arch/registry.ts'),
    import('../../pagetable/error.ts'),
  ]);
  const rest = [...words];
  const name = options.mode ?? rest.shift() ?? '';
  const declared = findMode(name);
  if (!declared) throw new PxdError('unknown', `there is no paging mode "${name}": expected one of the ${modeNames().length} that "pxd modes" lists`);
  let mode: CompiledMode;
  try {
    mode = compileMode(declared, options.kernel ?? DEFAULT_KERNEL);
  } catch (e) {
    if (e instanceof RangeError) throw new PxdError('usage', e.message);
    throw e;
  }
  const known = new Map(mode.levels.map((l) => [l.level.name, l]));
  const first = rest[0]?.toLowerCase();
  const level =
    options.level?.toLowerCase() ??
    (first !== undefined && (known.has(first) || first === 'all' || !/^(0x)?[0-9a-f_]+$/i.test(first)) ? rest.shift()?.toLowerCase() : undefined);
  const levels: (CompiledLevel | undefined)[] =
    level === 'all' ? [...mode.levels] : [level === undefined ? mode.levels[mode.levels.length - 1] : known.get(level)];
  if (levels.includes(undefined)) throw new PxdError('unknown', `mode ${name} has no level "${level}": it has ${[...known.keys()].join(', ')}`);
  if (options.encode !== undefined) {
    if (rest.length > 0) throw new PxdError('usage', '--encode makes a value: expected none beside it');
    const { composeEntry } = await import('../../inspect/explain.ts');
    const { lo, hi } = composeEntry(mode, levels[0] as CompiledLevel, options.encode);
    rest.push(((BigInt(hi) << 32n) | BigInt(lo)).toString(16));
    levels.length = 1;
  }
  if (rest.length === 0) throw new PxdError('usage', 'no value to take apart: expected MODE LEVEL VALUE…');
  let separate = false;
  for (const text of rest) {
    const value = parseAddress(text);
    for (const l of levels as CompiledLevel[]) {
      if (!l.wide && value >> 32n !== 0n) throw new PxdError('usage', `${text} does not fit: entries of ${name} at level ${l.level.name} have 32 bits`);
      const explained = explainEntry(mode, l, Number(value & 0xffffffffn), Number(value >> 32n));
      const unnamed = unnamedBits(mode, explained);
      if (options.json) io.write(`${JSON.stringify(toJson(mode, value, explained, unnamed))}\n`);
      else {
        if (separate) io.write('\n');
        print(mode, value, explained, unnamed, io);
      }
      separate = true;
    }
  }
}

const hex = (n: bigint): string => `0x${n.toString(16)}`;

function toJson(mode: CompiledMode, value: bigint, e: Explained, unnamed: readonly number[]): Record<string, unknown> {
  return {
    mode: mode.mode.name,
    kernel: mode.kernelText,
    level: e.level.level.name,
    value: hex(value),
    kind: e.entry.kind,
    ...(e.entry.form ? { form: e.entry.form.form.name } : {}),
    ...(e.entry.address === undefined ? {} : { address: hex(e.entry.address) }),
    ...(e.next ? { next: e.next } : {}),
    ...(e.leafBytes === undefined ? {} : { page: e.leafBytes, present: e.present, global: e.global, dirty: e.dirty, accessed: e.accessed }),
    ...(e.rights ? { rights: e.rights } : {}),
    ...(e.swap ? { swap: e.swap } : {}),
    fields: Object.fromEntries(e.fields.map((f) => [f.name, f.value < 1n << 53n ? Number(f.value) : hex(f.value)])),
    reserved: e.reserved,
    unnamed,
    ...(e.predicates.length > 0 ? { predicates: Object.fromEntries(e.predicates.map((p) => [p.name, p.holds])) } : {}),
  };
}

function print(mode: CompiledMode, value: bigint, e: Explained, unnamed: readonly number[], io: Io): void {
  const { level } = e.level;
  io.write(`${paint(io, 'bold', hex(value))}  ${mode.mode.name}, ${level.name} (${level.manual}), Linux ${mode.kernelText}\n`);
  io.write(`  ${sentence(e)}\n`);
  const rows = e.fields.map((f) => [f.bits, f.name, f.value < 10n ? String(f.value) : hex(f.value), f.meaning]);
  const lines = tableLines([{ title: 'bits', right: true }, { title: 'field' }, { title: 'value', right: true }, { title: 'meaning' }], rows, {
    indent: '  ',
    header: (t) => paint(io, 'dim', t),
    width: io.columns,
  });
  lines.forEach((line, i) => io.write(`${i > 0 && e.fields[i - 1].value === 0n ? paint(io, 'dim', line) : line}\n`));
  if (e.reserved.length > 0) io.write(`  ${paint(io, ['bold', 'red'], `reserved bits set: ${e.reserved.join(', ')}`)}\n`);
  const others = unnamed.filter((b) => !e.reserved.includes(b));
  if (others.length > 0) io.write(`  further bits set: ${others.join(', ')}\n`);
  const yes = e.predicates.filter((p) => p.holds).map((p) => p.name);
  if (e.predicates.length > 0)
    io.write(
      `${wrap(`Linux says: ${yes.join(' ') || 'nothing'}`, io.columns - 2)
        .map((l) => `  ${l}\n`)
        .join('')}`,
    );
}

function sentence(e: Explained): string {
  const { form, address } = e.entry;
  if (form === undefined) return 'no entry of this level looks like this';
  const { name } = form.form;
  if (e.entry.kind === 'none') return `${name}: nothing is mapped`;
  if (e.swap)
    return `${name}: ${e.swap.kind}${e.swap.access ? ` (${e.swap.access})` : ''}, type ${e.swap.type}, offset 0x${e.swap.offset.toString(16)}${e.swap.pfn === undefined ? '' : `, frame 0x${e.swap.pfn.toString(16)}`}${e.swap.marker ? `, marks ${e.swap.marker.join(', ')}` : ''}`;
  const r = e.rights;
  const letters = r ? `${r.read ? 'r' : '-'}${r.write ? 'w' : '-'}${r.exec ? 'x' : '-'}${r.user ? 'u' : 'k'}` : '';
  if (e.entry.kind === 'leaf') {
    const is = [e.present ? '' : 'grants nothing (PROT_NONE)', e.global ? 'global' : '', e.dirty ? 'dirty' : '', e.accessed ? 'accessed' : ''].filter(
      (s) => s !== '',
    );
    return [`${name} at ${hex(address ?? 0n)}`, letters, ...is].join(', ');
  }
  return e.entry.kind === 'nonpresent'
    ? `${name}: not present`
    : `${name} at ${hex(address ?? 0n)} (${e.entry.kind}, next level ${e.next}), lets pass ${letters}`;
}
