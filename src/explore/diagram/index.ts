/** Formats of diagrams, by the name under which they are asked for. */
import type { Format } from './format.ts';
import { json } from './json.ts';
import { mermaid } from './mermaid.ts';
import { perfetto } from './perfetto.ts';
import { plantuml } from './plantuml.ts';
import { svg } from './svg.ts';
import { text } from './text.ts';

export type { Format, RenderOptions } from './format.ts';

export const formats: Readonly<Record<string, Format>> = {
  text,
  svg,
  mermaid,
  plantuml,
  perfetto,
  json,
};
