/**
 * The paging mode of the mounted machine: levels, geometry, and the way to entries in RAM.
 *
 * Levels are numbered from the bottom: 0 is pte, `topLevel` the root's, what is above stands for the entries of huge page directories, a number for each size of
 * pages (hugepd, until Linux 6.10). Folded levels do not exist. A pointer to an entry (pte_t *) is the index of its first word in RAM. Nothing here is state: a machine's mode never changes.
 */
import { recording, setWord, wordShift, words } from '../memory/state.ts';
import { type EntryCodec, PTE_CONT, PTE_GROUP } from '../pagetable/canonical.ts';

/** Most levels that a mode has, and kinds of huge page directories. */
const MAX_LEVELS = 12;

export let codec: EntryCodec;
export let topLevel = 0;
/** CONT_PTES − 1: entries of the lowest level whose pages user mappings let hardware translate together (CONFIG_ARM64_CONTPTE), less one; 0 where there are none. */
export let contMask = 0;
/** Reciprocal of the pages that an entry of a level spans. */
const perEntry = new Float64Array(MAX_LEVELS);
const indexMask = new Int32Array(MAX_LEVELS);
const stride = new Int32Array(MAX_LEVELS);
/** Pages of the mode that one entry spans. */
const entryPages = new Float64Array(MAX_LEVELS);
/** log2 of the pages that a table takes. */
const tableOrders = new Int32Array(MAX_LEVELS);
/** Bits of a page's number that tell the table that it is part of. */
const tableMasks = new Int32Array(MAX_LEVELS);

export function mountArch(next: EntryCodec): void {
  if (codec === next) return;
  codec = next;
  topLevel = next.levels.length - 1;
  const runs = next.mode.family === 'arm64' ? next.levels[0].groups : [];
  contMask = runs.length === 0 ? 0 : runs[0].entries - 1;
  next.tables.forEach((level, i) => {
    entryPages[i] = 2 ** (level.shift - next.pageShift);
    perEntry[i] = 1 / entryPages[i];
    indexMask[i] = level.entries - 1;
    stride[i] = level.strideWords;
    tableOrders[i] = Math.max(0, Math.ceil(Math.log2(level.tableBytes / 2 ** next.pageShift)));
    tableMasks[i] = -(2 ** tableOrders[i]);
  });
}

/** Pages that one entry of a level spans (PMD_SIZE and its kin, in pages). */
export const spanPages = (level: number): number => entryPages[level];

/** log2 of the pages of a table of a level. */
export const tableOrder = (level: number): number => tableOrders[level];

/** Entries of a table of a level (PTRS_PER_PTE and its kin). */
export const tableEntries = (level: number): number => indexMask[level] + 1;

/** Level of the table that an upper entry leads to: the next, or that of a huge page directory. */
export const tableLevel = (entry: number, level: number): number => ((entry & PTE_GROUP) === 0 ? level - 1 : topLevel + (entry & PTE_GROUP) / PTE_CONT);

/** Level of the entries that lead to the tables of a level. */
export const slotLevel = (level: number): number => (level > topLevel ? codec.directories[level - topLevel - 1].slotLevel : level + 1);

/** How many of them lead to the same table. */
export const slotCount = (level: number): number => (level > topLevel ? codec.directories[level - topLevel - 1].slots : 1);

/** Bits of the entries that lead to a huge page directory of a level. */
export const directoryBits = (level: number): number => codec.directories[level - topLevel - 1].bits;

/** Pages that a table of a level maps. */
export const tablePages = (level: number): number => (indexMask[level] + 1) * entryPages[level];

/** Words from one entry of a level to the next. */
export const entryStride = (level: number): number => stride[level];

/** pte_offset, pmd_offset …: the entry of a table that translates a page. */
export const entryAt = (table: number, level: number, vpn: number): number =>
  (table << wordShift) + ((vpn * perEntry[level]) & indexMask[level]) * stride[level];

/** The page of the table that an entry stands in; of tables larger than a page the first, when the level is told. */
export const pageOfEntry = (at: number, level = 0): number => (at >> wordShift) & tableMasks[level];

/** pXd_addr_end: end of the part of [vpn, end) that one entry of a level covers. */
export function entryEnd(vpn: number, end: number, level: number): number {
  const next = (Math.floor(vpn * perEntry[level]) + 1) * entryPages[level];
  return next < end ? next : end;
}

/** End of the part of [vpn, end) that one table of a level maps. */
export function tableEnd(vpn: number, end: number, level: number): number {
  const span = tablePages(level);
  return Math.min(end, (Math.floor(vpn / span) + 1) * span);
}

/** Reads an entry, canonical. */
export const loadEntry = (at: number, level: number): number => codec.readEntry(words, at, level);

/** Writes an entry, canonical; every word that the mode writes for it. */
export function storeEntry(at: number, level: number, entry: number): void {
  if (!recording) {
    codec.writeEntry(words, at, level, entry);
    return;
  }
  const count = keepWords(at, level);
  codec.writeEntry(words, at, level, entry);
  noteWords(at, level, count);
}

/** Empties an entry: `storeEntry` of 0. */
export function emptyEntry(at: number, level: number): void {
  if (!recording) {
    codec.clearEntry(words, at, level);
    return;
  }
  const count = keepWords(at, level);
  codec.clearEntry(words, at, level);
  noteWords(at, level, count);
}

/** The words of the entry that is being written, as they were: of any mode's few. */
const kept = new Int32Array(16);

/** Keeps all words of RAM that the mode writes for an entry. How many they are. */
function keepWords(at: number, level: number): number {
  const { entryWords, secondWord, cells } = codec.tables[level];
  if (entryWords === 2) {
    kept[0] = words[at];
    kept[1] = words[at + secondWord];
    return 2;
  }
  for (let i = 0; i < cells; i++) kept[i] = words[at + i];
  return cells;
}

/** Notes which of them became others. */
function noteWords(at: number, level: number, count: number): void {
  const { entryWords, secondWord } = codec.tables[level];
  for (let i = 0; i < count; i++) {
    const word = entryWords === 2 && i === 1 ? at + secondWord : at + i;
    const now = words[word];
    if (now === kept[i]) continue;
    words[word] = kept[i];
    setWord(word, now);
  }
}

/**
 * Writes `count` entries in a row, canonical, each with a frame so many (`step`) behind the one before. Only for tables that nobody else can reach: it is
 * no operation that others could see.
 */
export function storeEntries(at: number, level: number, first: number, step: number, count: number): void {
  const write = (): void => {
    for (let i = 0; i < count; i++) codec.writeEntry(words, at + i * stride[level], level, first + i * step * 1048576);
  };
  if (recording) recordWrite(write, at >> wordShift, tableOrders[level]);
  else write();
}

/** Fills a fresh table with empty entries. */
export function clearTable(table: number, level: number): void {
  const at = table << wordShift;
  if (!recording) codec.clearTable(words, at, level);
  else recordWrite(() => codec.clearTable(words, at, level), table, tableOrders[level]);
}

/** Fills a fresh table with entries that go up by a step, the first given. */
export function fillTable(table: number, level: number, first: number, step: number): void {
  const at = table << wordShift;
  const write = (): void => {
    for (let i = 0; i <= indexMask[level]; i++) codec.writeEntry(words, at + i * stride[level], level, first + i * step);
  };
  if (!recording) write();
  else recordWrite(write, table, tableOrders[level]);
}

/** Lets the codec write into a table and notes which words became others. */
function recordWrite(write: () => void, page: number, order: number): void {
  const from = ((page >> order) << order) << wordShift;
  const before = words.slice(from, from + (1 << (wordShift + order)));
  write();
  for (let i = 0; i < before.length; i++) {
    const now = words[from + i];
    if (now === before[i]) continue;
    words[from + i] = before[i];
    setWord(from + i, now);
  }
}
