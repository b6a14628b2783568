/**
 * Random programs in the dialect, from a tape of numbers: every choice takes the next number, an empty tape gives the simplest choice, so that a
 * shorter tape with smaller numbers is a simpler program (which is how fast-check shrinks them).
 *
 * Programs end: every loop pays with its function's fuel, functions call only those before them. Names are few, so that they shadow each other.
 * Values are numbers and booleans as TypeScript would keep them apart.
 */

type Type = 'number' | 'boolean';

interface Local {
  readonly name: string;
  readonly type: Type;
  readonly mutable: boolean;
}

interface Scope {
  readonly locals: Local[];
  /** Names that were used here before any declaration of them here: they cannot be declared any more. */
  readonly used: Set<string>;
  readonly outer: Scope | undefined;
}

interface Signature {
  readonly name: string;
  readonly params: readonly Type[];
  readonly result: Type;
}

const NAMES = ['a', 'b', 'c', 'd', 'fp', 'S'];
const LITERALS = ['0', '1', '2', '3', '5', '7', '16', '63', '-1', '0.5', '4294967296', '2147483647'];

class Generator {
  readonly #whole: readonly number[];
  /** The part that the present function is made from: its own, or functions that nobody calls would use up all. */
  #tape: readonly number[];
  #at = 0;
  #unique = 0;
  #scope: Scope = { locals: [], used: new Set(), outer: undefined };
  #functions: Signature[] = [];
  #result: Type = 'number';
  /** Labels and loops that can be left. */
  #jumps: { readonly label: string | undefined; readonly loop: boolean; readonly breakable: boolean }[] = [];

  constructor(tape: readonly number[]) {
    this.#whole = tape;
    this.#tape = tape;
  }

  /** 0…n−1. */
  #choose(n: number): number {
    return this.#at < this.#tape.length ? this.#tape[this.#at++] % n : 0;
  }

  get #spent(): boolean {
    return this.#at >= this.#tape.length;
  }

  #inScope<T>(run: () => T): T {
    this.#scope = { locals: [], used: new Set(), outer: this.#scope };
    const result = run();
    this.#scope = this.#scope.outer as Scope;
    return result;
  }

  #visible(type: Type, mutable: boolean): Local[] {
    const seen = new Set<string>();
    const found: Local[] = [];
    for (let scope: Scope | undefined = this.#scope; scope; scope = scope.outer)
      for (const local of scope.locals) {
        if (!seen.has(local.name) && local.type === type && (local.mutable || !mutable)) found.push(local);
        seen.add(local.name);
      }
    return found;
  }

  #use(local: Local): string {
    for (let scope: Scope | undefined = this.#scope; scope && !scope.locals.includes(local); scope = scope.outer) scope.used.add(local.name);
    return local.name;
  }

  #pick(type: Type, mutable = false): string | undefined {
    const found = this.#visible(type, mutable);
    return found.length === 0 ? undefined : this.#use(found[this.#choose(found.length)]);
  }

  #declare(type: Type, mutable: boolean): string {
    const wanted = NAMES[this.#choose(NAMES.length)];
    const free = !this.#scope.used.has(wanted) && !this.#scope.locals.some(({ name }) => name === wanted);
    const name = free ? wanted : `v${++this.#unique}`;
    this.#scope.locals.push({ name, type, mutable });
    return name;
  }

  // Expressions. `depth` is what may still be nested.

  #of(type: Type, depth: number): string {
    return type === 'number' ? this.#number(depth) : this.#boolean(depth);
  }

  #number(depth: number): string {
    const local = (): string => this.#pick('number') ?? LITERALS[this.#choose(LITERALS.length)];
    if (depth <= 0 || this.#spent) return this.#choose(3) > 0 ? local() : LITERALS[this.#choose(LITERALS.length)];
    const n = (): string => this.#number(depth - 1);
    switch (this.#choose(20)) {
      case 0:
      case 1:
        return local();
      case 2:
        return `(${n()} ${['+', '-', '*', '&', '|', '^', '<<', '>>', '>>>'][this.#choose(9)]} ${n()})`;
      case 3:
        return `(${this.#boolean(depth - 1)} ? ${n()} : ${n()})`;
      case 4: {
        const target = this.#pick('number', true);
        return target ? `(${target} ${['=', '+=', '-=', '|=', '^=', '&&=', '||='][this.#choose(7)]} ${n()})` : n();
      }
      case 5: {
        const target = this.#pick('number', true);
        return target ? ['X++', '++X', 'X--', '--X'][this.#choose(4)].replace('X', target) : n();
      }
      case 6:
        return `(${this.#expression(depth - 1)}, ${n()})`;
      case 7:
        return `clampIndex(${n()})`;
      case 8:
        return `mix(${n()}, ${n()})`;
      case 9:
        return `memory[${n()} & 63]`;
      case 10:
        return `(memory[${n()} & 63] ${['=', '+=', '^='][this.#choose(3)]} ${n()})`;
      case 11:
        return `(${n()} ${['&&', '||'][this.#choose(2)]} ${n()})`;
      case 12:
        return ['-', '~', '+'][this.#choose(3)].concat(`(${n()})`);
      case 13:
        return 'Constants.big';
      case 14:
      case 15:
      case 16:
        return this.#primitive(depth);
      case 17:
        return `(memory[${n()} & 63]${['++', '--'][this.#choose(2)]})`;
      default:
        return this.#call('number', depth) ?? this.#primitive(depth);
    }
  }

  #primitive(depth: number): string {
    const n = (): string => this.#number(depth - 1);
    switch (this.#choose(5)) {
      case 0:
        return `(yield* readWord(${n()}))`;
      case 1:
        return '(yield* tick())';
      case 2:
        return `(yield* writeWord(${n()}, ${n()}))`;
      case 3:
        return `(yield* addWord(${n()}, ${n()}))`;
      default:
        return `(yield* compareExchange(${n()}, ${n()}, ${n()}, ${n()}))`;
    }
  }

  #call(type: Type, depth: number): string | undefined {
    const known = this.#functions.filter(({ result }) => result === type);
    if (known.length === 0) return undefined;
    const { name, params } = known[this.#choose(known.length)];
    return `(yield* ${name}(${params.map((param) => this.#of(param, depth - 1)).join(', ')}))`;
  }

  #boolean(depth: number): string {
    if (depth <= 0 || this.#spent) return this.#pick('boolean') ?? `(${this.#number(0)} < ${this.#number(0)})`;
    const b = (): string => this.#boolean(depth - 1);
    switch (this.#choose(9)) {
      case 0:
        return this.#pick('boolean') ?? `(${this.#number(depth - 1)} !== 0)`;
      case 1:
      case 2:
        return `(${this.#number(depth - 1)} ${['<', '===', '!==', '>=', '>', '<='][this.#choose(6)]} ${this.#number(depth - 1)})`;
      case 3:
        return `!${b()}`;
      case 4:
        return `(${b()} ${['&&', '||'][this.#choose(2)]} ${b()})`;
      case 5:
        return `(${b()} ${['===', '!=='][this.#choose(2)]} ${b()})`;
      case 6:
        return `isOdd(${this.#number(depth - 1)})`;
      case 7: {
        const target = this.#pick('boolean', true);
        return target ? `(${target} = ${b()})` : b();
      }
      default:
        return this.#call('boolean', depth) ?? `(${b()} ? ${b()} : ${b()})`;
    }
  }

  #expression(depth: number): string {
    return this.#of(this.#choose(4) === 3 ? 'boolean' : 'number', depth);
  }

  // Statements.

  #block(depth: number): string {
    return this.#inScope(() => {
      const statements: string[] = [];
      for (let n = this.#choose(4); n >= 0; n--) statements.push(this.#statement(depth));
      return `{\n${statements.join('\n')}\n}`;
    });
  }

  #within(label: string | undefined, loop: boolean, breakable: boolean, run: () => string): string {
    this.#jumps.push({ label, loop, breakable });
    const text = run();
    this.#jumps.pop();
    return label ? `${label}: ${text}` : text;
  }

  #label(): string | undefined {
    return this.#choose(2) === 1 ? `l${++this.#unique}` : undefined;
  }

  #statement(depth: number): string {
    if (depth <= 0 || this.#spent) return `${this.#expression(1)};`;
    switch (this.#choose(16)) {
      case 0:
      case 1:
        return `${this.#expression(3)};`;
      case 2:
      case 3: {
        const type = this.#choose(4) === 3 ? 'boolean' : 'number';
        const value = this.#of(type, 3);
        const mutable = this.#choose(3) > 0;
        return `${mutable ? 'let' : 'const'} ${this.#declare(type, mutable)} = ${value};`;
      }
      case 4: {
        const target = this.#pick('number', true);
        return target ? `${target} ${['=', '+=', '-=', '^=', '||='][this.#choose(5)]} ${this.#number(3)};` : `${this.#expression(2)};`;
      }
      case 5:
      case 6: {
        const test = this.#boolean(3);
        const yes = this.#choose(2) ? this.#block(depth - 1) : this.#single(depth - 1);
        return this.#choose(2) ? `if (${test}) ${yes} else ${this.#block(depth - 1)}` : `if (${test}) ${yes}`;
      }
      case 7: {
        const label = this.#label();
        const test = this.#boolean(2);
        return this.#within(label, true, true, () => `while (fuel-- > 0 && ${test}) ${this.#block(depth - 1)}`);
      }
      case 8: {
        const label = this.#label();
        const body = this.#within(undefined, true, true, () => {
          this.#jumps[this.#jumps.length - 1] = { label, loop: true, breakable: true };
          return this.#block(depth - 1);
        });
        return `${label ? `${label}: ` : ''}do ${body} while (fuel-- > 0 && ${this.#boolean(2)});`;
      }
      case 9:
        return this.#for(depth);
      case 10:
        return this.#switch(depth);
      case 11:
        return this.#within(`l${++this.#unique}`, false, false, () => this.#block(depth - 1));
      case 12:
        return this.#block(depth - 1);
      case 13:
      case 14:
        return this.#jump();
      default:
        return this.#choose(3) === 2 ? `return ${this.#of(this.#result, 3)};` : `yield* addWord(${this.#number(2)}, ${this.#number(2)});`;
    }
  }

  /** A statement that is no declaration. */
  #single(depth: number): string {
    if (this.#choose(2) === 1) return this.#jump();
    return depth > 0 && this.#choose(3) === 2 ? `return ${this.#of(this.#result, 2)};` : `${this.#expression(2)};`;
  }

  #jump(): string {
    const possible = this.#jumps.flatMap(({ label, loop, breakable }) => [
      ...(breakable ? ['break;'] : []),
      ...(loop ? ['continue;'] : []),
      ...(label ? [`break ${label};`] : []),
      ...(label && loop ? [`continue ${label};`] : []),
    ]);
    return possible.length === 0 ? `${this.#expression(2)};` : possible[this.#choose(possible.length)];
  }

  #for(depth: number): string {
    const label = this.#label();
    return this.#inScope(() => {
      let init = '';
      if (this.#choose(3) > 0) {
        const value = this.#number(2);
        init = `let ${this.#declare('number', true)} = ${value}`;
      } else if (this.#choose(2)) init = this.#expression(2);
      const test = this.#choose(4) > 0 ? ` && ${this.#boolean(2)}` : '';
      const update = this.#choose(4) > 0 ? this.#expression(2) : '';
      return this.#within(label, true, true, () => `for (${init}; fuel-- > 0${test}; ${update}) ${this.#block(depth - 1)}`);
    });
  }

  #switch(depth: number): string {
    const label = this.#label();
    const on = this.#number(2);
    const wild = this.#choose(3) === 2;
    const cases: string[] = [];
    const standard = this.#choose(5);
    const count = 1 + this.#choose(4);
    return this.#within(label, false, true, () => {
      for (let i = 0; i < count; i++) {
        const test = i === standard ? 'default' : `case ${wild ? this.#number(2) : i}`;
        const body = this.#choose(3) > 0 ? `${this.#block(depth - 1)} ${this.#choose(2) ? 'break;' : ''}` : `${this.#expression(2)};`;
        cases.push(`${test}: ${body}`);
      }
      return `switch (${wild ? on : `(${on}) & 3`}) {\n${cases.join('\n')}\n}`;
    });
  }

  #function(name: string): string {
    const params: Type[] = [];
    for (let n = this.#choose(4); n > 0; n--) params.push(this.#choose(4) === 3 ? 'boolean' : 'number');
    const result: Type = name !== 'main' && this.#choose(4) === 3 ? 'boolean' : 'number';
    if (name === 'main') params.splice(0, params.length, 'number', 'number');
    this.#result = result;
    this.#scope = { locals: [], used: new Set(['fuel']), outer: undefined };
    const names = params.map((type) => this.#declare(type, true));
    const statements = ['let fuel = 8;'];
    for (let n = 2 + this.#choose(6); n > 0; n--) statements.push(this.#statement(3));
    statements.push(`return ${this.#of(result, 3)};`);
    this.#functions.push({ name, params, result });
    return `${name === 'main' ? 'export ' : ''}function* ${name}(${names.join(', ')}) {\n${statements.join('\n')}\n}`;
  }

  program(): string {
    const functions: string[] = [];
    const count = this.#choose(4);
    const part = Math.ceil(this.#whole.length / (count + 2));
    for (let i = 0; i <= count; i++) {
      this.#tape = i === count ? this.#whole.slice(i * part + 1) : this.#whole.slice(i * part + 1, (i + 1) * part + 1);
      this.#at = 0;
      functions.push(this.#function(i === count ? 'main' : `f${i}`));
    }
    return `import { addWord, compareExchange, readWord, tick, writeWord } from './ops.ts';
import { clampIndex, memory } from './state.ts';
const Constants = { big: 123456789012 };
function isOdd(value) { return (value & 1) === 1; }
function mix(x, y) { return (x * 31 + y) | 0; }
${functions.join('\n')}
`;
  }
}

/** The program of a tape; its entry is `main(number, number)`. */
export const randomProgram = (tape: readonly number[]): string => new Generator(tape).program();
