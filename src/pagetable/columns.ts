/** Growable typed columns: rows of numbers without an object a row. Invariant: only rows below `length` are meaningful. */

type Column = Float64Array | Uint32Array | Uint16Array | Uint8Array;

const grown = <T extends Column>(old: T, size: number): T => {
  const next = new (old.constructor as new (n: number) => T)(size);
  next.set(old as never);
  return next;
};

/** Items of walked tables: runs of equal entries. */
export class Items {
  length = 0;
  /** Index of the run's first entry in its table. */
  index = new Uint32Array(1024);
  /** Entries in the run. */
  count = new Uint32Array(1024);
  /** What the entries are: an id of `Attributes`. */
  attribute = new Uint32Array(1024);
  /** Leaf: pfn of the first entry; table: child node; non-present: offset. */
  value = new Float64Array(1024);
  /** 1 when `value` advances from entry to entry, 0 when it stays. */
  step = new Uint8Array(1024);

  push(index: number, count: number, attribute: number, value: number, step: number): void {
    const i = this.length++;
    if (i === this.index.length) this.#grow(i * 2);
    this.index[i] = index;
    this.count[i] = count;
    this.attribute[i] = attribute;
    this.value[i] = value;
    this.step[i] = step;
  }

  #grow(size: number): void {
    this.index = grown(this.index, size);
    this.count = grown(this.count, size);
    this.attribute = grown(this.attribute, size);
    this.value = grown(this.value, size);
    this.step = grown(this.step, size);
  }
}

/** A batch of extents. Virtual addresses and frames count in pages of the mode. */
export class ExtentColumns {
  length = 0;
  vpn = new Float64Array(1024);
  /** Leaf: first pfn; non-present: swap offset. */
  pfn = new Float64Array(1024);
  /** Pages of one repetition. */
  pages = new Float64Array(1024);
  /** An id of the tree's extent classes. */
  kind = new Uint32Array(1024);
  /** Repetitions, `stride` pages apart; 1 for an ordinary extent. */
  count = new Float64Array(1024);
  stride = new Float64Array(1024);

  push(vpn: number, pfn: number, pages: number, kind: number, count: number, stride: number): void {
    const i = this.length++;
    if (i === this.vpn.length) this.#grow(i * 2);
    this.vpn[i] = vpn;
    this.pfn[i] = pfn;
    this.pages[i] = pages;
    this.kind[i] = kind;
    this.count[i] = count;
    this.stride[i] = stride;
  }

  #grow(size: number): void {
    this.vpn = grown(this.vpn, size);
    this.pfn = grown(this.pfn, size);
    this.pages = grown(this.pages, size);
    this.kind = grown(this.kind, size);
    this.count = grown(this.count, size);
    this.stride = grown(this.stride, size);
  }
}
