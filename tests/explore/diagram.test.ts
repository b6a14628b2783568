/** Diagrams: short enough for a mail, the conflict in them, every format well-formed; and docs/diagrams.md shows what they are today. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { formats } from '../../src/explore/diagram/index.ts';
import { wrap, wrapParts } from '../../src/explore/diagram/wrap.ts';
import type { Story } from '../../src/explore/story.ts';
import e17 from '../../src/races/e17.ts';
import e28 from '../../src/races/e28.ts';
import { parseXml, within } from './support/markup.ts';
import { storyOf } from './support/stories.ts';

const ROOT = join(import.meta.dirname, '../..');
const MODES = ['x86-4level', 'arm64-4k-48', 's390x', 'ppc-8xx-4k'];
const stories: [string, () => Story][] = [
  ['E28 late', () => storyOf(e28, 'late')],
  ['E17 unaware', () => storyOf(e17, 'unaware')],
];

/** A story whose texts have everything that formats must not take for their own. */
function hostile(story: Story): Story {
  const evil = `<script>&"';#]]>\u0007--__//é~"" -> x`;
  return {
    ...story,
    title: evil,
    lanes: story.lanes.map((lane) => ({ ...lane, task: `${lane.task} ${evil}` })),
    events: story.events.map((e) => ({ ...e, text: `${e.text} ${evil}`, held: [...e.held, evil] })),
    conflict: story.conflict.map((c) => ({ ...c, text: `${c.text} ${evil}` })),
    violation: story.violation && { ...story.violation, text: `${story.violation.text}\n${evil}` },
  };
}

/** The same with a third task, which does what the first does. */
const three = (story: Story): Story => ({
  ...story,
  lanes: [...story.lanes, { ...story.lanes[0], task: 'third', cpu: 2 }],
  events: story.events.flatMap((e, i) => (e.lane === 0 && i < 20 && e.call !== null ? [e, { ...e, lane: 2, cpu: 2 }] : [e])),
  conflict: story.conflict.map((c) => ({
    ...c,
    event: c.event + story.events.filter((e, i) => e.lane === 0 && i < 20 && i < c.event && e.call !== null).length,
  })),
});

/** The same with a task in between that does nothing. */
const idle = (story: Story): Story => {
  const moved = <T extends { readonly lane: number }>(e: T): T => ({ ...e, lane: e.lane === 0 ? 0 : e.lane + 1 });
  const [first, ...others] = story.lanes;
  return { ...story, lanes: [first, { task: 'idler', cpu: 7, calls: [] }, ...others], events: story.events.map(moved), tooLate: story.tooLate.map(moved) };
};

const peaceful = (story: Story): Story => ({ ...story, violation: null, conflict: [], tooLate: [] });

/** Every shape of a story that formats must draw. */
const shapes = (story: Story): [string, Story][] => [
  ['as it is', story],
  ['hostile', hostile(story)],
  ['of three', three(story)],
  ['without a violation', peaceful(story)],
  ['without events', { ...peaceful(story), events: [] }],
];

// --- text -------------------------------------------------------------------------------------------------------------------

/** The columns of a text diagram: where each begins, and its lines between the rule and the legend. */
function columns(text: string): { starts: number[]; rows: string[] } {
  const lines = text.trimEnd().split('\n');
  const rule = lines.findIndex((line) => /^-+( {2}-+)+$/.test(line));
  const rest = lines.slice(rule + 1);
  const end = rest.indexOf('');
  return { starts: [...lines[rule].matchAll(/-+/g)].map((m) => m.index), rows: end < 0 ? rest : rest.slice(0, end) };
}

/** What is missing of the marks of the conflict; nothing when all is there. */
function missingMarks(text: string, rule: string): string[] {
  const { rows, starts } = columns(text);
  const cause = rows.findIndex((row) => /^\s*\(1\) /.test(row));
  const end = rows.findIndex((row) => row.includes(`<== ${rule}`));
  const arrow = rows.findIndex((row, i) => i > cause && /-> *|<---/.test(row.slice(0, starts[starts.length - 1])) && /-{3,}>|<-{3,}/.test(row));
  return [
    ...(cause < 0 ? ['the cause'] : []),
    ...(end < 0 ? ['the violation'] : []),
    ...(arrow < 0 ? ['the arrow'] : []),
    ...(cause >= 0 && end >= 0 && cause >= end ? ['the order'] : []),
    ...(rows.filter((row) => row.includes('(1)')).length < 2 ? ['the number at the violation'] : []),
  ];
}

describe.each(MODES)('text (%s)', (mode) => {
  it.each([
    ['E28', e28, 'late'],
    ['E17', e17, 'unaware'],
  ])('is short enough for a mail and names the page on both sides: %s', (_, entry, variant) => {
    const story = storyOf(entry, variant, mode);
    const text = formats.text.render(story);
    const lines = text.trimEnd().split('\n');
    expect(lines.length, text).toBeLessThanOrEqual(20);
    expect(Math.max(...lines.map((line) => line.length)), text).toBeLessThanOrEqual(100);
    expect(text, 'plain ASCII').toMatch(/^[\x20-\x7e\n]*$/);
    const { starts, rows } = columns(text);
    expect(starts.length).toBe(3);
    const left = rows.map((row) => row.slice(0, starts[1])).join('\n');
    const all = rows.join('\n');
    expect(left).toMatch(/\bP1\b/);
    // Of E17 the page stands at the violation: the second task never sees it, that is the point.
    expect(variant === 'late' ? rows.map((row) => row.slice(starts[1], starts[2])).join('\n') : all).toMatch(/\bP1\b/);
    expect(missingMarks(text, 'I4')).toEqual([]);
  });
});

describe('text', () => {
  it.each(stories)('shows the conflict, and lacks it when the story does: %s', (_, make) => {
    const story = make();
    expect(missingMarks(formats.text.render(story), 'I4')).toEqual([]);
    expect(missingMarks(formats.text.render({ ...story, conflict: story.conflict.filter((c) => c.role !== 'cause') }), 'I4')).toContain('the cause');
    expect(missingMarks(formats.text.render({ ...story, violation: null }), 'I4')).toContain('the violation');
  });

  it.each(stories)('keeps any width that leaves room for columns: %s', (_, make) => {
    for (const [name, story] of shapes(make()))
      for (const width of [72, 80, 90, 100, 120, 200]) {
        const lanes = story.lanes.length;
        if (lanes * 20 + 16 > width) continue;
        for (const line of formats.text.render(story, { width }).split('\n')) expect(line.length, `${name}, ${width}: ${line}`).toBeLessThanOrEqual(width);
      }
  });

  it.each(stories)('shows what is held and freed, and what came too late: %s', (_, make) => {
    const story = make();
    const text = formats.text.render(story);
    expect(text).toMatch(/ptl\s+T1/);
    expect(text).toContain('too late: ');
    for (const name of story.events.at(-1)?.freed ?? []) expect(text).toContain(`frees ${name}`);
  });

  it('leaves the least out that it can: with more lines to fill nothing of the violation is lost', () => {
    for (const [, make] of stories) {
      const story = make();
      const text = formats.text.render(story).replace(/\s+/g, '');
      const told = story.events.filter((e) => e.weight === 3 && e.returns === null);
      for (const event of told) expect(text).toContain(event.text.replace(/\s+/g, ''));
    }
  });
});

describe('lines', () => {
  it('lose nothing but spaces', () => {
    const what = 'move_ptes: ptep_get_and_clear(0x10000000) = P1 young|dirty|write; set_pte_at(0x10010000, P1 young|dirty|write)';
    for (let width = 8; width < 130; width++) {
      for (const indent of [0, 2, 4]) {
        const lines = wrap(what, width, indent);
        expect(lines.join('').replaceAll(' ', '')).toBe(what.replaceAll(' ', ''));
        for (const line of lines) expect(line.length).toBeLessThanOrEqual(width);
      }
      const parts = wrapParts('  f: ', [what, 'x(y)'], width, 4);
      expect(parts.join('').replace(/[ ;]/g, '')).toBe(`f:${what}x(y)`.replace(/[ ;]/g, ''));
    }
  });
});

describe('tasks that do nothing', () => {
  it.each(Object.keys(formats).filter((name) => name !== 'json'))('are left out (%s)', (name) => {
    for (const [, make] of stories) expect(formats[name].render(idle(make()))).toBe(formats[name].render(make()));
  });
});

// --- the others -------------------------------------------------------------------------------------------------------------

describe.each(stories)('formats of %s', (_, make) => {
  it.each(Object.keys(formats))('%s draws every shape, and the same again', (name) => {
    for (const [, story] of shapes(make())) expect(formats[name].render(story)).toBe(formats[name].render(story));
  });

  it('json is the story', () => {
    for (const [, story] of shapes(make())) expect(JSON.parse(formats.json.render(story))).toEqual(story);
  });

  it('svg is well-formed, within its frame, and marks the conflict', () => {
    for (const [name, story] of shapes(make()))
      for (const width of [80, 100]) {
        const root = parseXml(formats.svg.render(story, { width }));
        expect([root.name, root.attributes.xmlns]).toEqual(['svg', 'http://www.w3.org/2000/svg']);
        const all = within(root);
        expect(new Set(all.map((e) => e.name))).toEqual(
          new Set([...new Set(all.map((e) => e.name))].filter((n) => /^(svg|title|style|defs|marker|path|rect|line|text)$/.test(n))),
        );
        const [, , w, h] = root.attributes.viewBox.split(' ').map(Number);
        for (const { attributes: a, name: kind, text } of all) {
          if (kind !== 'text') continue;
          // Fonts of one width are 0.6 of their size wide; the letters of the hostile text count once each.
          expect(Number(a.x) + text.length * 7.9, text).toBeLessThanOrEqual(w + 1);
          expect(Number(a.y), text).toBeLessThanOrEqual(h);
        }
        const arrows = all.filter((e) => e.attributes['marker-end'] === 'url(#tip)');
        expect(arrows.length > 0, name).toBe(story.violation !== null);
        expect(all.filter((e) => e.attributes.class === 'bad').length, name).toBe(story.violation === null ? 0 : 1);
      }
  });

  it('svg has colours for light and for dark', () => {
    const style = formats.svg.render(make());
    expect(style).toContain('prefers-color-scheme: dark');
    const [light, dark] = style.split('prefers-color-scheme: dark');
    const used = new Set([...style.matchAll(/class="([^"]+)"/g)].flatMap((m) => m[1].split(' ')));
    for (const name of used) if (name !== 'head') for (const part of [light, dark]) expect(part, name).toContain(`.${name}`);
    // Text on the page: at least 7 to 1 (WCAG AAA), on boxes too.
    const colour = (part: string, what: RegExp): string => (what.exec(part) as RegExpExecArray)[1];
    for (const part of [light, dark])
      for (const back of [/\.page \{ fill: (#\w+)/, /\.box \{ fill: (#\w+)/, /\.bad \{ fill: (#\w+)/, /\.cause \{ fill: (#\w+)/, /\.hw \{ fill: (#\w+)/])
        expect(contrast(colour(part, /text \{ fill: (#\w+)/), colour(part, back)), String(back)).toBeGreaterThan(7);
  });

  it('mermaid and plantuml declare whom they speak of, one statement a line', () => {
    for (const [name, story] of shapes(make())) {
      const mermaid = formats.mermaid.render(story).trimEnd().split('\n');
      const from = mermaid.indexOf('sequenceDiagram');
      const statements = mermaid.slice(from + 1);
      expect(from).toBe(3);
      const declared = statements.flatMap((line) => /^ {2}participant (L\d+) as ./.exec(line)?.[1] ?? []);
      expect(declared).toEqual(story.lanes.map((_, i) => `L${i}`));
      for (const line of statements) {
        const known = /^ {2}(?:participant (L\d+) as |Note over (L\d+(?:,L\d+)?): |(L\d+)(?:->>|-->>|-x)(L\d+): )(.+)$/.exec(line);
        expect(known, `${name}: ${line}`).not.toBeNull();
        for (const who of known?.slice(1, 5).flatMap((names) => names?.split(',') ?? []) ?? []) expect(declared).toContain(who);
        expect((known?.[5] ?? '').replace(/#(?:\d+|lt|gt);|<br\/>/g, ''), line).not.toMatch(/[;#<>]/);
      }
      expect(statements.some((line) => /-x|I4/.test(line))).toBe(story.violation !== null);
      // Whatever it is escaped as, it is what the story says.
      const said = statements
        .join('\n')
        .replace(/<br\/>/g, '\n')
        .replace(/#(\d+|lt|gt);/g, (_, c: string) => (c === 'lt' ? '<' : c === 'gt' ? '>' : String.fromCharCode(Number(c))));
      for (const lane of story.lanes) expect(said).toContain(`CPU ${lane.cpu}: ${lane.task}`);
      if (story.violation) expect(said).toContain(story.violation.text);

      const plantuml = formats.plantuml.render(story).trimEnd().split('\n');
      expect([plantuml[0], plantuml.at(-1)]).toEqual(['@startuml', '@enduml']);
      const named = plantuml.flatMap((line) => /^participant "[^"]+" as (L\d+)$/.exec(line)?.[1] ?? []);
      expect(named).toEqual(story.lanes.map((_, i) => `L${i}`));
      if (story.violation)
        expect(
          plantuml
            .join('\n')
            .replaceAll('\\n', '\n')
            .replace(/~(?=__|--|\*\*|\/\/|""|~~|<)/g, ''),
        ).toContain(story.violation.text);
      for (const line of plantuml.slice(2, -1)) {
        const known = /^(?:participant .* as (L\d+)|note over (L\d+(?:, L\d+)?)(?: #pink)? : .+|(L\d+) (?:->|-->|-\[#red\]>x) (L\d+) : .+)$/.exec(line);
        expect(known, `${name}: ${line}`).not.toBeNull();
        for (const who of known?.slice(1, 5).flatMap((names) => names?.split(', ') ?? []) ?? []) expect(named).toContain(who);
      }
    }
  });

  it('perfetto has slices that nest, tracks with names, flows that begin and end in slices', () => {
    interface Trace {
      ph: string;
      pid: number;
      tid: number;
      ts: number;
      dur: number;
      id: number;
      name: string;
      args: { name: string; text?: string };
    }
    for (const [name, story] of shapes(make())) {
      const { traceEvents } = JSON.parse(formats.perfetto.render(story)) as { traceEvents: Trace[] };
      const slices = traceEvents.filter((e) => e.ph === 'X');
      expect(slices.filter((e) => e.args.text !== undefined)).toHaveLength(story.events.length);
      for (const tid of new Set(slices.map((e) => e.tid))) {
        expect(traceEvents.some((e) => e.ph === 'M' && e.name === 'thread_name' && e.tid === tid)).toBe(true);
        const mine = slices.filter((e) => e.tid === tid).sort((a, b) => a.ts - b.ts || b.dur - a.dur);
        const open: number[] = [];
        for (const { ts, dur } of mine) {
          while (open.length > 0 && open[open.length - 1] <= ts) open.pop();
          if (open.length > 0) expect(ts + dur, name).toBeLessThanOrEqual(open[open.length - 1] + 1e-9);
          open.push(ts + dur);
        }
      }
      const flows = traceEvents.filter((e) => e.ph === 's' || e.ph === 'f');
      expect(flows.length, name).toBe(story.violation === null ? 0 : 2);
      for (const { tid, ts } of flows) expect(slices.some((s) => s.tid === tid && s.ts <= ts && ts <= s.ts + s.dur)).toBe(true);
      if (flows.length === 2) expect(flows[0].ts).toBeLessThan(flows[1].ts);
    }
  });
});

/** WCAG's contrast of two colours. */
function contrast(a: string, b: string): number {
  const luminance = (colour: string): number => {
    const [r, g, blue] = [1, 3, 5].map((i) => {
      const c = Number.parseInt(colour.slice(i, i + 2), 16) / 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * blue;
  };
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
}

describe('markup', () => {
  it('is told from what is not well-formed', () => {
    for (const bad of ['<a>', '<a></b>', '<a>&</a>', '<a b=c/>', '<a>&nbsp;</a>', '<a/><b/>', '<a b="<"/>', 'x<a/>', '<a b="1" b="2"/>', '<a>\u0007</a>'])
      expect(() => parseXml(bad), bad).toThrow();
    expect(parseXml('<a b="1 &amp; 2"><c/>x &lt; y</a>')).toMatchObject({ name: 'a', attributes: { b: '1 & 2' }, text: 'x < y' });
  });
});

describe('docs/diagrams.md', () => {
  const write = process.env.PXD_WRITE_DOCS === '1';
  const path = join(ROOT, 'docs/diagrams.md');
  const hint = 'PXD_WRITE_DOCS=1 npx vitest run tests/explore/diagram.test.ts writes it';

  it.each(stories)('shows %s as it is', (name, make) => {
    const text = readFileSync(path, 'utf8');
    const [before, rest] = text.split(`<!-- ${name} -->\n`);
    const [shown, ...after] = rest.split('<!-- end -->');
    const now = `\n\`\`\`text\n${formats.text.render(make())}\`\`\`\n\n`;
    if (write) writeFileSync(path, `${before}<!-- ${name} -->\n${now}${['', ...after].join('<!-- end -->')}`);
    else expect(shown, hint).toBe(now);
  });

  it.each(stories)('has the drawing of %s', (name, make) => {
    const image = join(ROOT, 'docs/images', `${name.toLowerCase().replace(' ', '-')}.svg`);
    const now = formats.svg.render(make());
    if (write) writeFileSync(image, now);
    else expect(readFileSync(image, 'utf8'), hint).toBe(now);
  });
});
