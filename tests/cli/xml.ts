/** A strict little reader of XML, as much as reports need: elements with their attributes, in the order of the text. */

export interface Element {
  readonly name: string;
  readonly attributes: Record<string, string>;
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function decoded(text: string): string {
  if (/[<]/.test(text)) throw new Error(`"<" in an attribute: ${text}`);
  return text.replace(/&(?:#(\d+)|(\w+));|&/g, (whole, number?: string, name?: string) => {
    if (number !== undefined) return String.fromCodePoint(Number(number));
    if (name === undefined || !(name in ENTITIES)) throw new Error(`an entity that there is not: ${whole} in ${text}`);
    return ENTITIES[name];
  });
}

/** All elements. Throws for what is not well-formed: tags that do not match, attributes twice, text outside of the root. */
export function elementsOf(xml: string): Element[] {
  const found: Element[] = [];
  const open: string[] = [];
  let at = /^<\?xml version="1\.0" encoding="UTF-8"\?>\s*/.exec(xml)?.[0].length ?? -1;
  if (at < 0) throw new Error('no XML declaration');
  const token = /<(\/?)([A-Za-z_][\w.-]*)((?:\s+[A-Za-z_][\w.-]*="[^"]*")*)\s*(\/?)>|([^<]+)/y;
  for (let roots = 0; at < xml.length; at = token.lastIndex) {
    token.lastIndex = at;
    const [, closing, name, attributes, empty, text] = token.exec(xml) ?? [];
    if (name === undefined) {
      if (text === undefined || (open.length === 0 && text.trim() !== '') || /&(?!#?\w+;)/.test(text))
        throw new Error(`not well-formed at ${xml.slice(at, at + 40)}`);
      continue;
    }
    if (closing === '/') {
      if (open.pop() !== name) throw new Error(`</${name}> closes another element`);
      continue;
    }
    if (open.length === 0 && roots++ > 0) throw new Error('two roots');
    const pairs = [...attributes.matchAll(/([\w.-]+)="([^"]*)"/g)].map(([, key, value]): [string, string] => [key, decoded(value)]);
    if (new Set(pairs.map(([key]) => key)).size !== pairs.length) throw new Error(`an attribute twice in <${name}>`);
    found.push({ name, attributes: Object.fromEntries(pairs) });
    if (empty !== '/') open.push(name);
  }
  if (open.length > 0) throw new Error(`<${open.pop()}> is not closed`);
  return found;
}
