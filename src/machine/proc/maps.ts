/**
 * /proc/PID/maps: the name of a VMA, its line, the text.
 *
 * Source: fs/proc/task_mmu.c (show_map_vma, get_vma_name, show_vma_header_prefix), fs/seq_file.c (seq_pad).
 */
import type { ProcessView, VmaView } from './view.ts';
import { hasFlag } from './vm-bits.ts';

/** Column of the name: behind one more space than the 25 + 6 × sizeof(void *) - 1 that the rest of the line is padded to. */
const nameColumn = ({ pointerBytes }: ProcessView): number => 25 + 6 * pointerBytes;

/** `[heap]` or `[stack]`; undefined for another VMA without file (and for every one with a file). */
export function specialName(process: ProcessView, vma: VmaView): '[heap]' | '[stack]' | undefined {
  if (vma.file !== undefined) return undefined;
  const page = BigInt(process.pageBytes);
  const [start, end] = [BigInt(vma.start) * page, BigInt(vma.end) * page];
  if (start < process.brk && end > process.startBrk) return '[heap]';
  if (start <= process.startStack && end >= process.startStack) return '[stack]';
  return undefined;
}

/** `rwxp`, `r--s`. */
export const permsOf = (flags: number): string =>
  (hasFlag(flags, 'VM_READ') ? 'r' : '-') +
  (hasFlag(flags, 'VM_WRITE') ? 'w' : '-') +
  (hasFlag(flags, 'VM_EXEC') ? 'x' : '-') +
  (hasFlag(flags, 'VM_MAYSHARE') ? 's' : 'p');

/** Offset that maps shows: pages, 0 without a file. */
export const offsetOf = (vma: VmaView): number => (vma.file === undefined ? 0 : vma.pgoff);

const hex = (value: number | bigint, digits: number): string => value.toString(16).padStart(digits, '0');

/** The line of a VMA, with its line end. */
export function mapsLine(process: ProcessView, vma: VmaView): string {
  const { file } = vma;
  const at = (pages: number): string => hex(BigInt(pages) * BigInt(process.pageBytes), 8);
  const device = file === undefined ? '00:00 0' : `${hex(file.major, 2)}:${hex(file.minor, 2)} ${file.inode}`;
  const prefix = `${at(vma.start)}-${at(vma.end)} ${permsOf(vma.flags)} ${at(offsetOf(vma))} ${device} `;
  const name = file === undefined ? specialName(process, vma) : file.path.replaceAll('\n', '\\012');
  return `${name === undefined ? prefix : `${prefix.padEnd(nameColumn(process))}${name}`}\n`;
}

/** The text of /proc/PID/maps. */
export const mapsText = (process: ProcessView): string => process.vmas.map((vma) => mapsLine(process, vma)).join('');
