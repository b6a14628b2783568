/**
 * The kernel's command line as far as it is about transparent huge pages: transparent_hugepage=, thp_anon=, transparent_hugepage_shmem=, transparent_hugepage_tmpfs=,
 * thp_shmem= (setup_transparent_hugepage and setup_thp_anon of mm/huge_memory.c, their kin of mm/shmem.c).
 *
 * Invariants: a word that is not understood changes nothing and leaves a message. Who names sizes names all of them: the size of the pmd level then inherits no longer
 * by itself. Of several words of one kind the last one counts, size by size.
 */
import { codec } from '../kernel/arch.ts';
import { get, set } from '../memory/heap.ts';
import { memparse } from '../mm/cmdline.ts';
import { globals } from '../mm/globals.ts';
import { fileOrders, hasOrder, hasPmdLeaves, pmdOrder } from '../mm/huge-orders.ts';
import { PxdError } from '../pagetable/error.ts';
import { noteUse, SIZES, thpSetting, tmpfsHuge } from './thp-settings.ts';

const DIRECTORY = '/sys/kernel/mm/transparent_hugepage/';

/** Sizes and what is said of them: the orders from `first` to `last`. */
interface SizeRule {
  readonly first: number;
  readonly last: number;
  readonly word: string;
}

/** get_order_from_str: the order of a size such as `64K` that such memory may have; −1 of another. */
function orderOf(text: string, valid: number): number {
  const order = Math.log2(memparse(text)) - codec.pageShift;
  return Number.isInteger(order) && order >= 0 && order < 31 && hasOrder(valid, order) ? order : -1;
}

/** `16K-64K,128K:inherit;2M:always`; undefined when any part of it is wrong. */
function sizeRules(text: string, valid: number, words: readonly string[]): SizeRule[] | undefined {
  const rules: SizeRule[] = [];
  for (const token of text.split(';')) {
    const [sizes, word] = token.split(':');
    if (word === undefined || !words.includes(word)) return undefined;
    for (const part of sizes.split(',')) {
      const [from, to = from] = part.split('-');
      const [first, last] = [orderOf(from, valid), orderOf(to, valid)];
      if (first < 0 || last < first) return undefined;
      rules.push({ first, last, word });
    }
  }
  return rules;
}

/** thp_anon= and thp_shmem=: whether it was understood. */
function setSizes(kind: keyof typeof SIZES, text: string, named: Set<string>): boolean {
  const fields: Readonly<Record<string, number>> = SIZES[kind];
  const valid = kind === 'enabled' ? 2 ** (pmdOrder() + 1) - 4 : fileOrders();
  const rules = sizeRules(text, valid, [...Object.keys(fields), 'never']);
  if (rules === undefined) return false;
  if (!named.has(kind)) for (const field of Object.values(fields)) set(globals, field, 0);
  named.add(kind);
  for (const { first, last, word } of rules)
    for (let order = first; order <= last; order++)
      for (const [name, field] of Object.entries(fields))
        set(globals, field, name === word ? get(globals, field) | (1 << order) : get(globals, field) & ~(1 << order));
  noteUse();
  return true;
}

/** One word of the command line. @throws {PxdError} 'usage' for a value that it does not take */
function setWord(key: string, value: string, named: Set<string>): void {
  switch (key) {
    case 'transparent_hugepage':
      thpSetting(`${DIRECTORY}enabled`)?.write(value);
      break;
    case 'transparent_hugepage_shmem':
      // Before sizes are set up there is none that could be forced, and who denies gets what `never` gives (shmem_init).
      if (value === 'force') throw new PxdError('usage', '"force" is for a machine that runs');
      thpSetting(`${DIRECTORY}shmem_enabled`)?.write(value === 'deny' ? 'never' : value);
      break;
    case 'transparent_hugepage_tmpfs':
      tmpfsHuge().write(value);
      break;
    default:
      if (!setSizes(key === 'thp_anon' ? 'enabled' : 'shmem_enabled', value, named)) throw new PxdError('usage', 'there are no such sizes, or no such word');
  }
}

const KEYS = ['transparent_hugepage', 'transparent_hugepage_shmem', 'transparent_hugepage_tmpfs', 'thp_anon', 'thp_shmem'];

/** Sets the mounted machine as a command line says. What was passed over, as messages; words about other things are none of ours. */
export function bootThpOptions(line: string): string[] {
  const messages: string[] = [];
  const named = new Set<string>();
  for (const word of line.split(/\s+/)) {
    const [key, value = ''] = word.split('=');
    if (!KEYS.includes(key)) continue;
    try {
      if (!hasPmdLeaves()) throw new PxdError('usage', 'there are no transparent huge pages in this mode');
      setWord(key, value, named);
    } catch (e) {
      if (!(e instanceof PxdError)) throw e;
      messages.push(`${word}: ${e.message}`);
    }
  }
  return messages;
}
