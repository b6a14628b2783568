/**
 * The soft TLB: where emulated CPUs find the page of RAM behind a virtual page without asking the mm.
 *
 * It lies in the first 64 KiB of the machine's WebAssembly memory (group 0 of RAM, which holds no frame), so that JavaScript and JIT-ed
 * WebAssembly look into the same table. For CPU `c` and kind of access `k` (0 load, 1 store, 2 fetch) entry `i = vpn mod 512` is:
 *
 * - tag, a double at byte `c * 16384 + k * 4096 + i * 8`: the vpn + 1, or 0 for an empty entry;
 * - page, 32 bits at byte `c * 16384 + 12288 + i * 4`, shared by the three kinds: number of the page in RAM. Times the mode's page size it is the
 *   page's place in the memory.
 *
 * Invariants: an entry of kind k is there only while the page tables grant that access, and the accessed bit (for stores the dirty bit too) is set
 * in them; kernel code empties entries by its TLB flushes. The table is a cache: it is no part of the machine's state.
 */
import type { MachineState } from '../memory/state.ts';

export const TLB_ENTRIES = 512;
export const TLB_CPUS = 4;
const CPU_BYTES = 16384;

/** A CPU's part of the soft TLB for an inline fast path. Valid until RAM grows, which every call into the machine may make it. */
export interface TlbView {
  /** vpn + 1 or 0, by vpn mod 512: loads from 0, stores from 512, fetches from 1024. */
  readonly tags: Float64Array;
  /** Page of RAM, by vpn mod 512. */
  readonly pages: Int32Array;
  /** RAM by bytes. */
  readonly ram: Uint8Array;
}

export class SoftTlb {
  /** The address space whose translations each CPU holds. */
  readonly #mm = new Float64Array(TLB_CPUS);
  #state: MachineState;
  #tags: Float64Array;
  #pages: Int32Array;
  #buffer: ArrayBufferLike;

  constructor(state: MachineState) {
    this.#state = state;
    this.#buffer = state.ram.buffer;
    this.#tags = new Float64Array(this.#buffer, 0, (TLB_CPUS * CPU_BYTES) / 8);
    this.#pages = new Int32Array(this.#buffer, 0, (TLB_CPUS * CPU_BYTES) / 4);
  }

  /** Takes up the memory again after RAM grew: growing detaches what was seen before. */
  #renew(): void {
    // What is detached has no length; to ask the memory for its buffer takes longer than all else here.
    if (this.#tags.length !== 0) return;
    this.#buffer = this.#state.ram.buffer;
    this.#tags = new Float64Array(this.#buffer, 0, (TLB_CPUS * CPU_BYTES) / 8);
    this.#pages = new Int32Array(this.#buffer, 0, (TLB_CPUS * CPU_BYTES) / 4);
  }

  /** The CPU goes on in another address space: what it holds is dropped (no address space numbers are kept). */
  switchTo(cpu: number, mm: number): void {
    if (this.#mm[cpu] === mm) return;
    this.#mm[cpu] = mm;
    this.#clear(cpu);
  }

  /**
   * The arrays of a CPU for an inline fast path: tags of loads from 0, of stores from 512, of fetches from 1024; pages; RAM by bytes. Valid until RAM
   * grows, which a fault or a system call may make it: take them again after each.
   */
  view(cpu: number): TlbView {
    this.#renew();
    return {
      tags: this.#tags.subarray(cpu * 2048, cpu * 2048 + 1536),
      pages: this.#pages.subarray(cpu * 4096 + 3072, cpu * 4096 + 3584),
      ram: new Uint8Array(this.#buffer),
    };
  }

  /** The page of RAM for an access, or 0: ask the mm. */
  lookup(cpu: number, vpn: number, access: number): number {
    this.#renew();
    const i = vpn & (TLB_ENTRIES - 1);
    return this.#tags[cpu * 2048 + access * 512 + i] === vpn + 1 ? this.#pages[cpu * 4096 + 3072 + i] : 0;
  }

  /** Keeps a translation: `kinds` bit k set for each kind of access that it grants. */
  fill(cpu: number, vpn: number, kinds: number, page: number): void {
    this.#renew();
    const i = vpn & (TLB_ENTRIES - 1);
    const at = cpu * 2048 + i;
    this.#pages[cpu * 4096 + 3072 + i] = page;
    this.#tags[at] = (kinds & 1) !== 0 ? vpn + 1 : 0;
    this.#tags[at + 512] = (kinds & 2) !== 0 ? vpn + 1 : 0;
    this.#tags[at + 1024] = (kinds & 4) !== 0 ? vpn + 1 : 0;
  }

  /** Drops what CPUs hold of pages [start, end) of an address space. */
  flush(mm: number, start: number, end: number): void {
    this.#renew();
    for (let cpu = 0; cpu < TLB_CPUS; cpu++) {
      if (this.#mm[cpu] !== mm) continue;
      if (end - start > TLB_ENTRIES / 4) {
        this.#clear(cpu);
        continue;
      }
      const tags = this.#tags;
      for (let vpn = start; vpn < end; vpn++) {
        const at = cpu * 2048 + (vpn & (TLB_ENTRIES - 1));
        const tag = vpn + 1;
        if (tags[at] === tag) tags[at] = 0;
        if (tags[at + 512] === tag) tags[at + 512] = 0;
        if (tags[at + 1024] === tag) tags[at + 1024] = 0;
      }
    }
  }

  /** Drops everything of all CPUs. */
  flushAll(): void {
    this.#renew();
    this.#tags.fill(0);
    this.#mm.fill(0);
  }

  #clear(cpu: number): void {
    this.#renew();
    this.#tags.fill(0, cpu * 2048, cpu * 2048 + 1536);
  }
}
