/** Numbers in the text of options (lib/cmdline.c). */

/**
 * memparse: the number that a text begins with, octal and hexadecimal ones as in C, with a suffix K, M, G, T, P or E; 0 where none stands. What follows is ignored.
 */
export function memparse(text: string): number {
  const found = /^(?:0x([0-9a-f]+)|(0[0-7]*)|([1-9]\d*))([kmgtpe]?)/i.exec(text);
  if (found === null) return 0;
  const [, hexadecimal, octal, decimal, suffix] = found;
  const value = hexadecimal !== undefined ? Number.parseInt(hexadecimal, 16) : octal !== undefined ? Number.parseInt(octal, 8) : Number(decimal);
  return value * 1024 ** ('kmgtpe'.indexOf(suffix.toLowerCase() || ' ') + 1);
}
