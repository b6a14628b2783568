/** Numbers, addresses and rights as text, the same in every command. Addresses count in pages of the mode here, as the extents do. */
import type { Rights } from '../pagetable/entry.ts';

/** Hexadecimal digits of a page number as a byte address, without prefix. Exact for all 64 bits: page numbers times the excess over 4 KiB stay below 2^52. */
export function pageHex(page: number, pageShift: number): string {
  if (page === 0) return '0';
  return pageShift >= 12 ? `${(page * 2 ** (pageShift - 12)).toString(16)}000` : (BigInt(page) << BigInt(pageShift)).toString(16);
}

/** The exact bytes of a number of pages (which may be more than 2^53). */
export const pageBytes = (pages: number, pageShift: number): bigint => BigInt(pages) << BigInt(pageShift);

const UNITS = ['', 'K', 'M', 'G', 'T', 'P', 'E'];

/** `4K`, `2M`, `1.5G`: exact, or rounded down to one decimal. Takes bytes. */
export function sizeOf(bytes: number | bigint): string {
  let size = Number(bytes);
  let unit = 0;
  for (; size >= 1024 && unit < UNITS.length - 1; unit++) size /= 1024;
  const text = Number.isInteger(size) ? String(size) : size >= 100 ? String(Math.floor(size)) : (Math.floor(size * 10) / 10).toFixed(1);
  return unit === 0 ? `${text}` : `${text}${UNITS[unit]}`;
}

/** Thousands separated: 700,219. */
export const grouped = (n: number | bigint): string => String(n).replace(/\B(?=(\d{3})+$)/g, ',');

export const plural = (n: number | bigint, one: string, many = `${one}s`): string => `${grouped(n)} ${Number(n) === 1 ? one : many}`;

/** `rwxu`; `k` at the end where user mode has no access, `-` for what is not allowed. */
export const rightsLetters = (r: Rights): string => `${r.read ? 'r' : '-'}${r.write ? 'w' : '-'}${r.exec ? 'x' : '-'}${r.user ? 'u' : 'k'}`;

/** Hexadecimal digits that addresses of a mode take. */
export const addressDigits = (vaBits: number): number => (vaBits <= 32 ? 8 : 16);
