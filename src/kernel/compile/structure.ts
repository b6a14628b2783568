/**
 * Basic blocks as structured JavaScript: labelled blocks and loops, no dispatch (after N. Ramsey, Beyond Relooper, 2022). The engine sees what the
 * source said: which variable lives where, what a loop is.
 *
 * A block that several lead to stands behind a labelled block that holds them all: those inside its immediate dominator's text. Where control leaves a
 * loop for good, the text stands behind the loop. Kernel code is structured, so every cycle is entered at one block only.
 *
 * Every piece of text that is written here ends by leaving: nothing falls through, except out of a labelled block to what follows it.
 */

export interface Flowgraph<T> {
  readonly entry: T;
  /** Where control may go from a block, once for each way. */
  successors(block: T): readonly T[];
  /** Blocks that must be reachable by a jump, wherever they are meant. */
  readonly jumpedTo: ReadonlySet<T>;
  /** A number of its own, for labels. */
  number(block: T): number;
  /** The block's text; `go` gives the text that leaves it for another. */
  write(block: T, go: (to: T) => string): string;
}

export function structured<T>(graph: Flowgraph<T>): string {
  return new Structure(graph).text();
}

class Structure<T> {
  readonly #graph: Flowgraph<T>;
  /** In reverse postorder. */
  readonly #order: readonly T[];
  readonly #index = new Map<T, number>();
  readonly #predecessors = new Map<T, T[]>();
  /** Immediate dominators. */
  readonly #dominator = new Map<T, T>();
  /** By head of a loop: its blocks. */
  readonly #loops = new Map<T, Set<T>>();
  /** Blocks with a label. */
  readonly #labelled = new Set<T>();
  /** By block: those that stand behind its text, and those that stand behind the loop that it heads. */
  readonly #inside = new Map<T, T[]>();
  readonly #behind = new Map<T, T[]>();

  constructor(graph: Flowgraph<T>) {
    this.#graph = graph;
    this.#order = this.#reversePostorder();
    this.#order.forEach((block, i) => {
      this.#index.set(block, i);
    });
    for (const block of this.#order) for (const to of graph.successors(block)) this.#add(this.#predecessors, to, block);
    this.#findDominators();
    this.#findLoops();
    this.#place();
  }

  text(): string {
    return this.#tree(this.#graph.entry);
  }

  #add<K>(map: Map<K, T[]>, key: K, block: T): void {
    const list = map.get(key);
    if (list) list.push(block);
    else map.set(key, [block]);
  }

  #at(block: T): number {
    return this.#index.get(block) as number;
  }

  #isBack(from: T, to: T): boolean {
    return this.#at(to) <= this.#at(from);
  }

  #reversePostorder(): T[] {
    const found: T[] = [];
    const seen = new Set<T>([this.#graph.entry]);
    const rec = (block: T): void => {
      // The last way first, so that blocks come in the order of the text.
      for (const to of [...this.#graph.successors(block)].reverse()) {
        if (seen.has(to)) continue;
        seen.add(to);
        rec(to);
      }
      found.push(block);
    };
    rec(this.#graph.entry);
    return found.reverse();
  }

  #findDominators(): void {
    const { entry } = this.#graph;
    this.#dominator.set(entry, entry);
    const common = (a: T, b: T): T => {
      let [x, y] = [a, b];
      while (x !== y) {
        if (this.#at(x) > this.#at(y)) x = this.#dominator.get(x) as T;
        else y = this.#dominator.get(y) as T;
      }
      return x;
    };
    for (let changed = true; changed; ) {
      changed = false;
      for (const block of this.#order.slice(1)) {
        const known = (this.#predecessors.get(block) ?? []).filter((from) => this.#dominator.has(from));
        const found = known.reduce(common);
        if (this.#dominator.get(block) === found) continue;
        this.#dominator.set(block, found);
        changed = true;
      }
    }
  }

  #dominates(above: T, block: T): boolean {
    let at = block;
    while (at !== above && at !== this.#graph.entry) at = this.#dominator.get(at) as T;
    return at === above;
  }

  #findLoops(): void {
    for (const head of this.#order) {
      const ends = (this.#predecessors.get(head) ?? []).filter((from) => this.#isBack(from, head));
      if (ends.length === 0) continue;
      const body = new Set<T>([head, ...ends]);
      for (const block of body) if (block !== head) for (const from of this.#predecessors.get(block) ?? []) body.add(from);
      for (const block of body) if (!this.#dominates(head, block)) throw new Error('a cycle with two entries');
      this.#loops.set(head, body);
    }
  }

  /** The outermost loop that is left between two blocks. */
  #leaves(from: T, to: T): T | undefined {
    for (const [head, body] of this.#loops) if (body.has(from) && !body.has(to)) return head;
    return undefined;
  }

  #place(): void {
    for (const block of this.#order.slice(1)) {
      const above = this.#dominator.get(block) as T;
      const left = this.#leaves(above, block);
      const ways = (this.#predecessors.get(block) ?? []).filter((from) => !this.#isBack(from, block)).length;
      if (left === undefined && ways < 2 && !this.#graph.jumpedTo.has(block)) continue;
      this.#labelled.add(block);
      if (left === undefined) this.#add(this.#inside, above, block);
      else this.#add(this.#behind, left, block);
    }
  }

  /** A block and all that stands with it. */
  #tree(block: T): string {
    let text = this.#followed(
      this.#graph.write(block, (to) => this.#go(block, to)),
      this.#inside.get(block),
    );
    if (this.#loops.has(block)) text = `$l${this.#graph.number(block)}: for (;;) {\n${text}\n}`;
    return this.#followed(text, this.#behind.get(block));
  }

  /** A text with the blocks behind it that it jumps to, the nearest first. */
  #followed(text: string, blocks: readonly T[] = []): string {
    let all = text;
    for (const block of blocks) {
      const label = `$b${this.#graph.number(block)}`;
      const leave = `break ${label};`;
      const end = all.trimEnd();
      const inner = end.endsWith(leave) ? end.slice(0, -leave.length) : end;
      const rest = this.#tree(block);
      all = inner.includes(leave) ? `${label}: {\n${inner}\n}\n${rest}` : `${inner}\n${rest}`;
    }
    return all;
  }

  #go(from: T, to: T): string {
    if (this.#isBack(from, to)) return `continue $l${this.#graph.number(to)};`;
    return this.#labelled.has(to) ? `break $b${this.#graph.number(to)};` : this.#tree(to);
  }
}
