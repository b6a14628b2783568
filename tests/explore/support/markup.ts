/** Whether markup is well-formed: enough of XML 1.0 for what has no DTD. */

export interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly text: string;
  readonly children: readonly Element[];
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function decoded(text: string): string {
  return text.replace(/&([^;\s]*);?/g, (all, name: string) => {
    const value = ENTITIES[name];
    if (value === undefined || !all.endsWith(';')) throw new Error(`"${all}" is no entity`);
    return value;
  });
}

/** The root element. @throws {Error} where it is not well-formed */
export function parseXml(source: string): Element {
  interface Open {
    name: string;
    attributes: Record<string, string>;
    text: string;
    children: Element[];
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those that XML does not have are looked for
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(source)) throw new Error('a character that XML does not have');
  const open: Open[] = [{ name: '', attributes: {}, text: '', children: [] }];
  const token = /<(\/?)([A-Za-z][\w:-]*)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>|([^<]+)/gy;
  let end = 0;
  for (let found = token.exec(source); found; found = token.exec(source)) {
    end = token.lastIndex;
    const [, closing, name, attributes, empty, text] = found;
    const top = open[open.length - 1];
    if (text !== undefined) top.text += decoded(text);
    else if (closing !== '') {
      if (top.name !== name) throw new Error(`</${name}> ends <${top.name}>`);
      open.pop();
    } else {
      const element: Open = { name, attributes: {}, text: '', children: [] };
      for (const [, key, value] of attributes.matchAll(/([\w:-]+)="([^"]*)"/g)) {
        if (key in element.attributes) throw new Error(`${key} twice in <${name}>`);
        element.attributes[key] = decoded(value);
      }
      top.children.push(element);
      if (empty === '') open.push(element);
    }
  }
  if (end !== source.length) throw new Error(`not well-formed at "${source.slice(end, end + 40)}"`);
  if (open.length !== 1) throw new Error(`<${open[open.length - 1].name}> is not ended`);
  if (open[0].children.length !== 1 || open[0].text.trim() !== '') throw new Error('not one root');
  return open[0].children[0];
}

/** An element and all within it. */
export const within = (element: Element): Element[] => [element, ...element.children.flatMap(within)];
