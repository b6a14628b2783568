/** Breaking text into lines of a width. */

/** Breaks a text: at spaces, and where a word is longer than a line behind its punctuation. Lines after the first are indented. */
export function wrap(what: string, width: number, indent: number): string[] {
  const lines: string[] = [];
  let line = /^ */.exec(what)?.[0] ?? '';
  for (const word of what.trim().split(/ +/))
    for (const [i, part] of parts(word, width - indent).entries()) {
      const next = `${line}${i > 0 || line.trim() === '' ? '' : ' '}${part}`;
      if (next.length <= width || line.trim() === '') line = next;
      else {
        lines.push(line.trimEnd());
        line = ' '.repeat(indent) + part;
      }
    }
  if (line.trim() !== '') lines.push(line.trimEnd());
  return lines;
}

/** Several texts behind a lead: on one line when they fit, else each begins a line of its own. */
export function wrapParts(lead: string, texts: readonly string[], width: number, indent: number): string[] {
  const whole = `${lead}${texts.join('; ')}`;
  if (whole.length <= width) return [whole];
  const first = wrap(lead + texts[0], width, indent);
  // A lead on a line of its own leaves more room.
  const apart = [lead.trimEnd(), ...wrap(' '.repeat(indent) + texts[0], width, indent + 2)];
  const begin = lead.trim() !== '' && (apart.length < first.length || (apart.length === 2 && first.length === 2)) ? apart : first;
  return [...begin, ...texts.slice(1).flatMap((part) => wrap(' '.repeat(indent) + part, width, indent + 2))];
}

/** A word, in parts where it is longer than a line. */
function parts(word: string, width: number): string[] {
  if (word.length <= width) return [word];
  return (word.match(/[^(|,-]*[(|,-]?/g) ?? []).flatMap((piece) =>
    Array.from({ length: Math.ceil(piece.length / width) }, (_, i) => piece.slice(i * width, (i + 1) * width)),
  );
}
