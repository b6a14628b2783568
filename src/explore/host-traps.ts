/**
 * Hears of kernel code (or a check) that asks the host for what is another each time: clocks and randomness.
 *
 * Invariant: while traps are set the host answers as ever; afterwards nothing of them is left. What a module took for itself before (`const { now } = performance`) is
 * not heard: undo-check.ts finds it by what it leads to.
 */

/** What was asked for first, and where. */
export interface Heard {
  /** As people write it: `Date.now()`. */
  readonly name: string;
  /** Its stack leads to who asked. */
  readonly at: Error;
}

type Anything = Record<string, unknown>;
// biome-ignore lint/suspicious/noExplicitAny: any function of the host
type HostFunction = (this: unknown, ...args: any[]) => unknown;

const METHODS: readonly (readonly [of: string, name: string])[] = [
  ['Math', 'random'],
  ['Date', 'now'],
  ['performance', 'now'],
  ['crypto', 'getRandomValues'],
  ['crypto', 'randomUUID'],
  ['process', 'hrtime'],
  ['process', 'uptime'],
];

export class HostTraps {
  #heard: Heard | undefined;
  readonly #undo: (() => void)[] = [];

  /** Sets the traps. To be closed. */
  constructor() {
    const host = globalThis as unknown as Record<string, Anything | undefined>;
    for (const [of, name] of METHODS) {
      const object = host[of];
      const method = object?.[name];
      if (object !== undefined && typeof method === 'function') this.#trap(object, name, `${of}.${name}()`, method as HostFunction);
    }
    const { Date: own } = globalThis;
    globalThis.Date = new Proxy(own, {
      construct: (target, args, self) => {
        if (args.length === 0) this.#hear('new Date()');
        return Reflect.construct(target, args, self) as object;
      },
    });
    this.#undo.push(() => {
      globalThis.Date = own;
    });
  }

  #trap(object: Anything, name: string, text: string, method: HostFunction): void {
    const before = Object.getOwnPropertyDescriptor(object, name);
    if (before?.configurable === false) return;
    const hear = (): void => this.#hear(text);
    const value = Object.assign(function (this: unknown, ...args: unknown[]): unknown {
      hear();
      return method.apply(this === undefined ? object : this, args);
    }, method);
    Object.defineProperty(object, name, { configurable: true, writable: true, enumerable: before?.enumerable ?? false, value });
    this.#undo.push(() => {
      if (before === undefined) delete object[name];
      else Object.defineProperty(object, name, before);
    });
  }

  #hear(name: string): void {
    this.#heard ??= { name, at: new Error(name) };
  }

  /** What was heard since it was asked last. */
  take(): Heard | undefined {
    const heard = this.#heard;
    this.#heard = undefined;
    return heard;
  }

  close(): void {
    for (const undo of this.#undo.splice(0).reverse()) undo();
  }
}
