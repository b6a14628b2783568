/** Sizes and addresses as people write them. */

const UNITS = ['', 'K', 'M', 'G', 'T', 'P', 'E'];

/** `4096` → `4K`, `1536` → `1.5K`, `12` → `12`; binary units, at most one decimal. */
export function sizeText(bytes: number): string {
  let unit = 0;
  let n = bytes;
  while (n >= 1024 && unit < UNITS.length - 1) {
    n /= 1024;
    unit++;
  }
  return `${Number.isInteger(n) ? n : n.toFixed(1)}${UNITS[unit]}`;
}
