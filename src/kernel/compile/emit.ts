/**
 * Writes a kernel function of the step program: one JavaScript function, a switch over its blocks.
 *
 *     function fault$run($fp, $pc, $p0, $p1) {        // $pc 0: called by another; else: goes on from its frame
 *       const $s = $S;  let …;
 *       $run: for (;;) switch ($pc) {
 *         case 0: …
 *           if (other.enter($fp + 7, 0, vpn)) { … put aside …; return true; }      // a call: true when the task waits inside
 *           if ($stops[code] !== 0) { … put aside …; return $wait(…); } $T.rv = effect(ptep);      // a primitive
 *           …
 *       }
 *     }
 *
 * A frame is written when the task waits, from the innermost function outwards as the calls return: header (function, block to go on from, size of
 * the frame below), then slots. A call that never waits writes nothing. Whoever returns for good leaves its frame's memory zero.
 */
import { type Block, CLEAN, type Code, type Graph } from './blocks.ts';
import { flowOf, type Wait } from './flow.ts';
import type { Variable } from './scope.ts';
import type { MappedText } from './source-map.ts';

/** Doubles of a frame before its slots: function, block, size of the caller's frame (0: none). */
export const FRAME_HEADER = 3;

export interface EmittedFunction {
  /** The function's text, with marks. */
  readonly text: string;
  readonly frameSize: number;
  /** Offsets in the compiler's input, by number of the block that a waiting frame names. */
  readonly resumes: readonly { readonly block: number; readonly at: number }[];
}

/** Text that may stand twice. */
const SIMPLE = /^[\w$.]*$/;

/** A block that does nothing but jump stands for where it jumps to. */
function threaded(block: Block): Block {
  const seen = new Set<Block>();
  let at = block;
  while (at.instructions.length === 0 && at.end?.kind === 'jump' && !seen.has(at)) {
    seen.add(at);
    at = at.end.to;
  }
  return at;
}

export function emitFunction(name: string, graph: Graph, params: readonly Variable[], input: MappedText): EmittedFunction {
  const flow = flowOf(graph, params);
  const frameSize = FRAME_HEADER + flow.slots;
  const place = (slot: number): string => `$s[$fp + ${FRAME_HEADER + slot}]`;
  const lines: string[] = [];
  const stubs: string[] = [];
  /** Variables for arguments of primitives that are computed. */
  const computes = new Set<string>();
  const resumes: { block: number; at: number }[] = [];

  const putAside = ({ store, clear }: Wait, block: number): string =>
    `$s[$fp] = ${name}.id; $s[$fp + 1] = ${block};${store.map((v) => ` ${place(v.slot)} = ${v.name};`).join('')}${clear.map((slot) => ` ${place(slot)} = 0;`).join('')}`;
  const takeBack = ({ load }: Wait): string => load.map((v) => `${v.name} = ${place(v.slot)}; `).join('');
  const clean = (block: Block): string => {
    const { clear, header } = flow.leftovers.get(block) ?? { clear: [], header: false };
    return [...(header ? ['$s[$fp] = 0; $s[$fp + 1] = 0; $s[$fp + 2] = 0; '] : []), ...clear.map((slot) => `${place(slot)} = 0; `)].join('');
  };
  const jump = (to: Block, following: Block | undefined): string => (threaded(to) === following ? '' : `$pc = ${threaded(to).id}; continue $run;`);

  // Blocks that only jump are not written, unless their number stands somewhere.
  const named = new Set<Block>();
  for (const { instructions } of flow.reachable) for (const { code } of instructions) for (const exit of code.exits) named.add(exit);
  const written = flow.reachable.filter((block, i) => i === 0 || named.has(block) || threaded(block) === block);
  written.forEach((block, i) => {
    const following = written[i + 1];
    const put = (code: Code | string): void => {
      const text = typeof code === 'string' ? code : code.text;
      lines.push(text.replaceAll(CLEAN, clean(block)));
    };
    lines.push(`case ${block.id}:`);
    // As variables of their own, of which the engine sees that they are numbers all the time.
    if (i === 0) for (const [n, param] of params.entries()) if (flow.variables.has(param)) lines.push(`${param.name} = +$p${n};`);
    for (const { code } of block.instructions) put(code);
    const end = block.end;
    if (end === undefined) throw new Error('a block without an end');
    switch (end.kind) {
      case 'jump':
        lines.push(jump(end.to, following));
        break;
      case 'branch': {
        const [yes, no] = [threaded(end.yes), threaded(end.no)];
        if (yes === following) put(`if (!${parenthesized(end.test.text)}) { $pc = ${no.id}; continue $run; }`);
        else put(`if (${end.test.text}) { $pc = ${yes.id}; continue $run; } ${jump(no, following)}`);
        break;
      }
      case 'switch':
        put(
          `switch (${end.on.text}) { ${end.cases.map(({ test, to }) => `case ${test.text}: $pc = ${threaded(to).id}; continue $run;`).join(' ')} default: $pc = ${threaded(end.otherwise).id}; continue $run; }`,
        );
        break;
      case 'return':
        put(`$T.rv = ${end.value?.text ?? '0'}; ${clean(block)}return false;`);
        break;
      case 'call': {
        const wait = flow.waits.get(block) as Wait;
        const args = end.args.map(({ text }) => `, ${text}`).join('');
        put(
          `${input.mark(end.at)}if (${end.callee}.enter($fp + ${frameSize}, 0${args})) { ${putAside(wait, end.next.stub)} $s[$fp + ${frameSize + 2}] = ${frameSize}; return true; }`,
        );
        // Only reached by number; the call that did not wait falls into what follows.
        if (threaded(end.next) !== following) lines.push(jump(end.next, undefined));
        stubs.push(`case ${end.next.stub}: ${takeBack(wait)}$pc = ${threaded(end.next).id}; continue $run;`);
        resumes.push({ block: end.next.stub, at: end.at });
        break;
      }
      case 'primitive': {
        const wait = flow.waits.get(block) as Wait;
        // A name that a later argument might change is put aside before it.
        const lastComputed = end.args.findLastIndex(({ text }) => !SIMPLE.test(text));
        const args = end.args.map(({ text }, j) => (j > lastComputed ? text : `$a${j}`));
        const computed = end.args.map(({ text }, j) => (args[j] === text ? '' : `$a${j} = ${text}; `)).join('');
        end.args.forEach(({ text }, j) => {
          if (args[j] !== text) computes.add(`$a${j}`);
        });
        const announced = args.map((text, j) => ` $s[$T.base + ${2 + j}] = ${text};`).join('');
        put(
          `${input.mark(end.at)}${computed}if ($stops[${end.callee}] !== 0) { $s[$T.base + 1] = ${end.callee};${announced} ${putAside(wait, end.next.stub)} return $wait($fp, ${frameSize}); } $T.rv = +${end.effect}(${args.join(', ')});`,
        );
        if (threaded(end.next) !== following) lines.push(jump(end.next, undefined));
        stubs.push(`case ${end.next.stub}: ${takeBack(wait)}$pc = ${threaded(end.next).id}; continue $run;`);
        resumes.push({ block: end.next.stub, at: end.at });
        break;
      }
    }
  });

  // A task's first function finds its parameters in the frame; they leave it at once.
  const load = params.map((param, n) => `$p${n} = ${place(param.slot)}; ${place(param.slot)} = 0; `).join('');
  const begin = `case 1: ${load}$s[$fp] = 0; $s[$fp + 1] = 0; $pc = 0; continue $run;`;
  const locals = [...[...flow.variables].map(({ name }) => name), ...computes].map((name) => `${name} = 0`);
  const head = `function ${name}$run($fp, $pc${params.map((_, n) => `, $p${n}`).join('')}) {`;
  const text = [
    head,
    // Nobody changes the stack's array while a task runs; the engine cannot know.
    'const $s = $S;',
    locals.length > 0 ? `let ${locals.join(', ')};` : '',
    '$run: for (;;) switch ($pc) {',
    ...lines,
    begin,
    ...stubs,
    'default: $lost($fp, $pc);',
    '}',
    '}',
  ];
  return { text: text.filter((line) => line !== '').join('\n'), frameSize, resumes };
}

const parenthesized = (text: string): string => `(${text})`;
