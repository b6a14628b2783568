/**
 * Writes a kernel function of the step program: one JavaScript function that is called, and one that goes on where a task has waited.
 *
 *     function fault$enter($fp, $p0, $p1) {           // structured as the source is (structure.ts)
 *       let …;
 *       if (($r = other.enter($fp + 7, vpn)) === undefined) return fault$wait3($fp, …);       // a call: no result when the task waits inside
 *       failed = +$r;
 *       if ($stops[code] !== 0) return fault$wait5($fp, ptep, …);                // a primitive
 *       pte = +effect(ptep); …
 *       return pte;
 *     }
 *     function fault$wait5($fp, …) { … put aside …; $wait(…); }
 *     function fault$run($fp) {                       // a switch over the blocks that come after a wait
 *       const $s = $S;  let $pc = $s[$fp + 1], …;
 *       $run: for (;;) switch ($pc) {
 *         case 6: … take back …
 *         case 5: …
 *           $r = other.enter($fp + 7, vpn); if ($r === undefined) { … put aside …; return; } $T.rv = $r;
 *           if ($stops[code] !== 0) { … put aside …; $wait(…); return; } $T.rv = effect(ptep);
 *           …
 *       }
 *     }
 *
 * A frame is written when the task waits, from the innermost function outwards as the calls return: header (function, block to go on from, size of
 * the frame below), then slots. A call that never waits writes nothing, and is nearly what the direct program would do. Whoever returns for good leaves
 * its frame's memory zero.
 */
import { type Block, type Code, type End, EXITS, type Graph, RETURN, RETURNED, successors } from './blocks.ts';
import { type Flow, flowOf, type Wait } from './flow.ts';
import type { Variable } from './scope.ts';
import type { MappedText } from './source-map.ts';
import { structured } from './structure.ts';

/** Doubles of a frame before its slots: function, block, size of the caller's frame (0: none). */
export const FRAME_HEADER = 3;

export interface EmittedFunction {
  /** The functions' text, with marks. */
  readonly text: string;
  readonly frameSize: number;
  /** Offsets in the compiler's input, by number of the block that a waiting frame names. */
  readonly resumes: readonly { readonly block: number; readonly at: number }[];
}

/** Text that may stand twice, but for marks. */
const SIMPLE = /^(?:[\w$.]*|\+\([\w$.]*\))$/;
const MARKS = /\uE001\d+\uE002/g;
const isSimple = ({ text }: Code): boolean => SIMPLE.test(text.replaceAll(MARKS, ''));
/** Text that only leaves for another block. */
const isJump = (text: string): boolean => /^(?:break|continue) \$\w+;$/.test(text);
const lines = (...texts: readonly string[]): string => texts.filter((text) => text !== '').join('\n');
/** The text with its returns written out, each with what is done before it leaves. */
const returning = (text: string, clean: string): string =>
  clean === '' ? text.replaceAll(RETURN, 'return ').replaceAll(RETURNED, ';') : text.replaceAll(RETURN, '$r = ').replaceAll(RETURNED, `; ${clean}return $r;`);
const listed = (texts: readonly string[]): string => texts.map((text) => `, ${text}`).join('');

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

/** A place where the task may wait, at the end of a block. */
interface Site {
  readonly end: End & { kind: 'call' | 'primitive' };
  readonly wait: Wait;
  /** Text of the arguments, and what computes them before. */
  readonly args: readonly string[];
  readonly computed: string;
}

export function emitFunction(name: string, graph: Graph, params: readonly Variable[], input: MappedText): EmittedFunction {
  return new Emission(name, graph, params, input).emit();
}

class Emission {
  readonly #name: string;
  readonly #params: readonly Variable[];
  readonly #input: MappedText;
  readonly #flow: Flow;
  readonly #frameSize: number;
  /** By number, for exits. */
  readonly #blocks: ReadonlyMap<number, Block>;
  readonly #entry: Block;
  readonly #sites = new Map<Block, Site>();
  /** Blocks that begin by taking the result of what ended the one before, and the variable that does. */
  readonly #takers = new Map<Block, Variable>();
  /** JavaScript's variables. */
  readonly #locals: string;

  constructor(name: string, graph: Graph, params: readonly Variable[], input: MappedText) {
    this.#name = name;
    this.#params = params;
    this.#input = input;
    this.#flow = flowOf(graph, params);
    this.#frameSize = FRAME_HEADER + this.#flow.slots;
    this.#entry = graph.blocks[0];
    this.#blocks = new Map(graph.blocks.map((block) => [block.id, block]));
    const computes = new Set<string>();
    for (const block of this.#flow.reachable) {
      const { end } = block;
      const wait = this.#flow.waits.get(block);
      if (wait === undefined || (end?.kind !== 'call' && end?.kind !== 'primitive')) continue;
      // A name that a later argument might change is put aside before it.
      const last = end.kind === 'call' ? -1 : end.args.findLastIndex((arg) => !isSimple(arg));
      const args = end.args.map(({ text }, i) => (i > last ? text : `$a${i}`));
      for (let i = 0; i <= last; i++) computes.add(`$a${i}`);
      const computed = end.args.slice(0, last + 1).map(({ text }, i) => `$a${i} = ${text}; `);
      this.#sites.set(block, { end, wait, args, computed: computed.join('') });
      const taker = end.next.instructions[0]?.takes;
      if (taker) this.#takers.set(end.next, taker);
    }
    const names = [...[...this.#flow.variables].map((variable) => variable.name), ...computes];
    this.#locals = `let $r${listed(names.map((one) => `${one} = 0`))};`;
  }

  emit(): EmittedFunction {
    const sites = [...this.#sites.values()];
    return {
      text: lines(this.#enter(), ...sites.map((site) => this.#wait(site)), this.#run()),
      frameSize: this.#frameSize,
      resumes: sites.map(({ end }) => ({ block: end.next.stub, at: end.at })),
    };
  }

  #place(slot: number): string {
    return `$s[$fp + ${FRAME_HEADER + slot}]`;
  }

  /** What is done where the task waits: the operation is announced, the frame written. */
  #putAside({ end }: Site, args: readonly string[], store: readonly Variable[], clear: readonly number[]): string {
    const announced = end.kind === 'call' ? '' : `$s[$T.base + 1] = ${end.callee};${args.map((text, i) => ` $s[$T.base + ${2 + i}] = ${text};`).join('')} `;
    const stores = store.map((v) => ` ${this.#place(v.slot)} = ${v.name};`).join('');
    const zeroes = clear.map((slot) => ` ${this.#place(slot)} = 0;`).join('');
    const below = end.kind === 'call' ? `$s[$fp + ${this.#frameSize + 2}] = ${this.#frameSize};` : `$wait($fp, ${this.#frameSize});`;
    return `${announced}$s[$fp] = ${this.#name}.id; $s[$fp + 1] = ${end.next.stub};${stores}${zeroes} ${below}`;
  }

  // The function that is called.

  #enter(): string {
    const jumpedTo = new Set<Block>();
    for (const { instructions, end } of this.#flow.reachable) {
      for (const { code } of instructions) for (const exit of code.exits) jumpedTo.add(threaded(exit));
      if (end?.kind === 'switch') for (const to of [...end.cases.map((one) => one.to), end.otherwise]) jumpedTo.add(threaded(to));
    }
    const body = structured<Block>({
      entry: threaded(this.#entry),
      successors: (block) => successors(block).map(threaded),
      jumpedTo,
      number: ({ id }) => id,
      write: (block, go) => this.#structured(block, (to) => go(threaded(to))),
    });
    // As variables of their own, of which the engine sees that they are numbers all the time.
    const params = this.#params.map((param, n) => (this.#flow.variables.has(param) ? `${param.name} = +$p${n}; ` : ''));
    return lines(`function ${this.#name}$enter($fp${listed(this.#params.map((_, n) => `$p${n}`))}) {`, this.#locals, params.join(''), body, '}');
  }

  /** A block as a piece of structured text. */
  #structured(block: Block, go: (to: Block) => string): string {
    const { end, instructions } = block;
    if (end === undefined) throw new Error('a block without an end');
    const texts = (this.#takers.has(block) ? instructions.slice(1) : instructions).map(({ code }) =>
      returning(code.text, '').replaceAll(EXITS, (_, id) => go(this.#blocks.get(Number(id)) as Block)),
    );
    switch (end.kind) {
      case 'jump':
        return lines(...texts, go(end.to));
      case 'branch': {
        const [yes, no] = [go(end.yes), go(end.no)];
        // What only jumps is what is branched to, so that the text stays flat.
        if (isJump(no) && !isJump(yes)) return lines(...texts, `if (!(${end.test.text})) ${no}`, yes);
        return lines(...texts, `if (${end.test.text}) ${isJump(yes) ? yes : `{\n${yes}\n}`}`, no);
      }
      case 'switch': {
        const cases = end.cases.map(({ test, to }) => `case ${test.text}: ${go(to)}`);
        return lines(...texts, `switch (${end.on.text}) {`, ...cases, `default: ${go(end.otherwise)}`, '}');
      }
      case 'return':
        return lines(...texts, `return ${end.value?.text ?? '0'};`);
      default:
        return lines(...texts, this.#attempt(this.#sites.get(block) as Site), go(end.next));
    }
  }

  /** A call or primitive, and that the task may wait there. */
  #attempt(site: Site): string {
    const { end, wait, args, computed } = site;
    const mark = this.#input.mark(end.at);
    const alive = wait.alive.map(({ name }) => name);
    const stop = `return ${this.#name}$wait${end.next.stub}($fp${listed(end.kind === 'call' ? alive : [...args, ...alive])});`;
    const taker = this.#takers.get(end.next);
    const taken = taker === undefined ? '' : `${taker.name} = +`;
    if (end.kind === 'call') {
      const called = `${end.callee}.enter($fp + ${this.#frameSize}${listed(args)})`;
      if (taker === undefined) return `${mark}if (${called} === undefined) ${stop}`;
      return lines(`${mark}if (($r = ${called}) === undefined) ${stop}`, `${taken}$r;`);
    }
    return lines(`${mark}${computed}if ($stops[${end.callee}] !== 0) ${stop}`, `${taken}${end.effect}(${args.join(', ')});`);
  }

  /** Apart from the function itself, which the engine then takes into its callers sooner. */
  #wait(site: Site): string {
    const { end, wait } = site;
    const args = end.kind === 'call' ? [] : site.args.map((_, i) => `$a${i}`);
    const params = listed([...args, ...wait.alive.map(({ name }) => name)]);
    return `function ${this.#name}$wait${end.next.stub}($fp${params}) { const $s = $S; ${this.#putAside(site, args, wait.alive, [])} }`;
  }

  // The function that goes on.

  #run(): string {
    const { resumed } = this.#flow;
    // Blocks that only jump are not written, unless their number stands somewhere.
    const named = new Set<Block>();
    for (const { instructions } of resumed) for (const { code } of instructions) for (const exit of code.exits) named.add(exit);
    const written = this.#flow.reachable.filter((block) => resumed.has(block) && (named.has(block) || threaded(block) === block));
    const load = this.#params.map((param, n) => `$p${n} = ${this.#place(param.slot)}; ${this.#place(param.slot)} = 0; `).join('');
    const sites = [...this.#sites.values()];
    return lines(
      `function ${this.#name}$run($fp) {`,
      // Nobody changes the stack's array while a task runs; the engine cannot know.
      'const $s = $S;',
      `let $pc = $s[$fp + 1] | 0${listed(this.#params.map((_, n) => `$p${n} = 0`))};`,
      this.#locals,
      '$run: for (;;) switch ($pc) {',
      ...written.map((block, i) => this.#case(block, written[i + 1])),
      // A task's first function finds its parameters in the frame; they leave it at once.
      `case 1: ${load}$s[$fp] = 0; $s[$fp + 1] = 0; return ${this.#name}$enter($fp${listed(this.#params.map((_, n) => `$p${n}`))});`,
      ...sites.map(
        ({ end, wait }) =>
          `case ${end.next.stub}: ${wait.alive.map((v) => `${v.name} = ${this.#place(v.slot)}; `).join('')}$pc = ${threaded(end.next).id}; continue $run;`,
      ),
      'default: $lost($fp, $pc);',
      '}',
      '}',
    );
  }

  #clean(block: Block): string {
    const { clear, header } = this.#flow.leftovers.get(block) ?? { clear: [], header: false };
    return `${header ? '$s[$fp] = 0; $s[$fp + 1] = 0; $s[$fp + 2] = 0; ' : ''}${clear.map((slot) => `${this.#place(slot)} = 0; `).join('')}`;
  }

  #case(block: Block, following: Block | undefined): string {
    const { end, instructions } = block;
    if (end === undefined) throw new Error('a block without an end');
    const go = (to: Block): string => `$pc = ${threaded(to).id}; continue $run;`;
    const flow = (to: Block): string => (threaded(to) === following ? '' : go(to));
    const texts = instructions.map(({ code }) => returning(code.text, this.#clean(block)).replaceAll(EXITS, (_, id) => `{ $pc = ${id}; continue $run; }`));
    const put = (...more: readonly string[]): string => lines(`case ${block.id}:`, ...texts, ...more);
    switch (end.kind) {
      case 'jump':
        return put(flow(end.to));
      case 'branch':
        if (threaded(end.yes) === following) return put(`if (!(${end.test.text})) { ${go(end.no)} }`);
        return put(`if (${end.test.text}) { ${go(end.yes)} } ${flow(end.no)}`);
      case 'switch':
        return put(`switch (${end.on.text}) { ${end.cases.map(({ test, to }) => `case ${test.text}: ${go(to)}`).join(' ')} default: ${go(end.otherwise)} }`);
      case 'return':
        return put(returning(`${RETURN}${end.value?.text ?? '0'}${RETURNED}`, this.#clean(block)));
      default: {
        const site = this.#sites.get(block) as Site;
        const { wait, args, computed } = site;
        const aside = this.#putAside(site, args, wait.store, wait.clear);
        const mark = this.#input.mark(end.at);
        // Only reached by number; the call that did not wait falls into what follows.
        if (end.kind === 'call') {
          const called = `$r = ${end.callee}.enter($fp + ${this.#frameSize}${listed(args)});`;
          return put(`${mark}${called} if ($r === undefined) { ${aside} return; } $T.rv = $r;`, flow(end.next));
        }
        return put(`${mark}${computed}if ($stops[${end.callee}] !== 0) { ${aside} return; } $T.rv = +${end.effect}(${args.join(', ')});`, flow(end.next));
      }
    }
  }
}
