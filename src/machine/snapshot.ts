/**
 * A machine as bytes and back, a second machine like it, and the way back to an earlier moment.
 *
 * Invariants: what is written is the machine's memory and the name of its mode, and a machine read from it goes on as the first one does; two
 * machines of a mode give equal bytes exactly when their memory is equal. Soft TLBs are caches: they are emptied wherever two machines (or two runs of
 * one) shall go on alike, because the accessed bits that a machine sets depend on what its TLBs still hold.
 *
 * Format: four words (magic, version, bytes of the text, check sum of all that follows the words), text (JSON: `mode`) padded with spaces to
 * whole words, memory (memory/snapshot.ts).
 */
import { mountArch } from '../kernel/arch.ts';
import { clone as cloneState, restore as restoreState, snapshot as snapshotState } from '../memory/snapshot.ts';
import { journalMark, type MachineState, mount, recording, startJournal, stopJournal, undo } from '../memory/state.ts';
import type { EntryCodec } from '../pagetable/canonical.ts';
import { PxdError } from '../pagetable/error.ts';
import { codecFor, codecOfMounted } from './boot.ts';
import type { Machine } from './machine.ts';

/** "PXDV" */
const MAGIC = 0x56445850;
const VERSION = 1;
const HEADER_WORDS = 4;

/** A mark of the journal that `rewind` leads back to. */
export type Mark = number & { readonly mark?: 'mark' };

/** The bytes of a machine. */
export function snapshotOf(machine: Machine): Uint8Array {
  machine.enter();
  machine.tlb.flushAll();
  const name = JSON.stringify({ mode: machine.codec.mode.name });
  const text = new TextEncoder().encode(name.padEnd(Math.ceil(name.length / 4) * 4));
  const memory = snapshotState(machine.state);
  const out = new Uint8Array(HEADER_WORDS * 4 + text.length + memory.length);
  out.set(text, HEADER_WORDS * 4);
  out.set(memory, HEADER_WORDS * 4 + text.length);
  const words = new Int32Array(out.buffer);
  words.set([MAGIC, VERSION, text.length, checkSum(words.subarray(HEADER_WORDS))]);
  return out;
}

/** FNV-1a over words. */
function checkSum(words: Int32Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < words.length; i++) hash = Math.imul(hash ^ words[i], 0x01000193) ^ (hash >>> 15);
  return hash | 0;
}

/** Memory and codec out of bytes; mounted. @throws {PxdError} 'bad-image' for bytes that are no snapshot of this version of pxd or are damaged. */
export function stateOf(bytes: Uint8Array): { state: MachineState; codec: EntryCodec } {
  const whole = bytes.length - (bytes.length % 4);
  const words = new Int32Array(bytes.slice(0, whole).buffer);
  const [magic, version, textLength, sum] = words;
  if (words.length < HEADER_WORDS || magic !== MAGIC) throw new PxdError('bad-image', 'these bytes are no snapshot of a machine');
  if (version !== VERSION) throw new PxdError('bad-image', `the snapshot is of version ${version}, this program reads version ${VERSION}`);
  if (whole !== bytes.length || checkSum(words.subarray(HEADER_WORDS)) !== sum)
    throw new PxdError('bad-image', 'the snapshot is damaged: its check sum is another one');
  const from = HEADER_WORDS * 4;
  try {
    const { mode } = JSON.parse(new TextDecoder().decode(bytes.subarray(from, from + textLength))) as { mode: string };
    codecFor(mode);
    const state = restoreState(bytes.subarray(from + textLength));
    return mountedWith(state, mode);
  } catch (error) {
    if (error instanceof RangeError || error instanceof SyntaxError) throw new PxdError('bad-image', `the snapshot cannot be read: ${error.message}`);
    throw error;
  }
}

function mountedWith(state: MachineState, mode: string): { state: MachineState; codec: EntryCodec } {
  mount(state);
  const codec = codecOfMounted(mode);
  mountArch(codec);
  return { state, codec };
}

/** Memory of its own with equal content; mounted. */
export function copyOf(machine: Machine): { state: MachineState; codec: EntryCodec } {
  machine.enter();
  machine.tlb.flushAll();
  return mountedWith(cloneState(machine.state), machine.codec.mode.name);
}

/** Starts the machine's journal anew. While it is kept the soft TLB grants no stores, so that each goes through `process.store` and is written down. */
export function beginJournal(machine: Machine): void {
  machine.enter();
  machine.tlb.flushAll();
  startJournal();
}

/** Drops the journal: marks are void. */
export function endJournal(machine: Machine): void {
  machine.enter();
  stopJournal();
}

export function markOf(machine: Machine): Mark {
  machine.enter();
  if (!recording) throw new PxdError('usage', 'the machine keeps no journal: startJournal() comes before mark()');
  machine.tlb.flushAll();
  return journalMark();
}

export function rewindTo(machine: Machine, mark: Mark): void {
  machine.enter();
  if (!recording) throw new PxdError('usage', 'the machine keeps no journal: startJournal() comes before rewind()');
  if (!(mark >= 0 && mark <= journalMark() && mark % 3 === 0))
    throw new PxdError('usage', 'the machine has been rewound past this mark, or it is none of this journal');
  undo(mark);
  machine.tlb.flushAll();
}
