/**
 * The page tables of a session as a pxd capture.
 *
 * Invariants: a frame goes in only because an entry or a root register points to it as a table (or as the companion words of one, or as the hash table that
 * PowerPC hardware reads), so what mappings point to stays out; the result depends on nothing but the image and the chosen roots.
 */
import { writeCapture } from '../image/capture.ts';
import type { RootEntry } from '../image/roots.ts';
import { PxdError } from '../pagetable/error.ts';
import { FRAME_BYTES } from '../pagetable/source.ts';
import type { PageTables } from '../pagetable/tree.ts';
import { readPageTables } from '../pagetable/tree.ts';
import { hashFrames } from './hash.ts';
import type { AddressSpace, Session } from './session.ts';

export interface CapturedTables {
  /** The bytes of the file, in order. */
  readonly chunks: readonly Uint8Array[];
  readonly frames: number;
  readonly roots: number;
  /** Things worth telling, a sentence each. */
  readonly remarks: readonly string[];
}

/** A larger hash table (1/128 of the machine's memory) would make a capture no small file any more. */
const MOST_HASH = 2 ** 28;

/** Collects the tables below the chosen roots, or below all that are known when none was asked for. */
export function captureOf(session: Session, tell: (what: string) => void = () => undefined): CapturedTables {
  const spaces = session.asked ? session.chosen : session.spaces;
  const { image, mode } = session;
  const frames = new Set<number>();
  const walked = new Set<string>();
  for (const space of spaces)
    for (const root of space.roots) {
      const key = `${root.table} ${root.level} ${root.ranges.map((r) => `${r.from}-${r.to}`).join()}`;
      if (walked.has(key) || image.frame(Number(root.table >> 12n)) === undefined) continue;
      walked.add(key);
      tell(`walking ${space.name}`);
      tableFrames(readPageTables(mode, image, root), frames);
    }
  const hash = hashFrames(session, MOST_HASH);
  for (const frame of hash?.frames ?? []) frames.add(frame);
  const present = [...frames].filter((frame) => image.frame(frame) !== undefined).sort((a, b) => a - b);
  if (present.length === 0) throw new PxdError('unavailable', `${session.name}: none of the page tables of the chosen roots is in the image`);
  const elfMachine = image.elfMachine ?? mode.mode.elfMachines[0] ?? 0;
  const chunks = writeCapture({
    elfMachine,
    endian: image.endian ?? mode.mode.endian,
    frames: present.map((frame) => ({ frame, bytes: bytesOf(image.readBytes(frame * FRAME_BYTES, FRAME_BYTES), frame) })),
    meta: { mode: mode.mode.name, kernel: mode.kernelText, roots: spaces.map(entryOf) },
    ...(image.vmcoreinfoText !== undefined ? { vmcoreinfo: image.vmcoreinfoText } : {}),
  });
  return { chunks, frames: present.length, roots: spaces.length, remarks: hash?.remark === undefined ? [] : [hash.remark] };
}

function bytesOf(bytes: Uint8Array | undefined, frame: number): Uint8Array {
  if (bytes === undefined) throw new PxdError('bad-image', `frame 0x${frame.toString(16)} cannot be read`);
  return bytes;
}

const entryOf = (space: AddressSpace): RootEntry => ({
  pid: space.pid ?? 0,
  comm: space.comm ?? '',
  mode: space.cpuMode ?? (space.pid === undefined ? 'user' : space.pid === 0 ? 'kernel' : 'user'),
  registers: space.registers,
  ...(space.confidence === 'given' ? {} : { how: space.evidence }),
});

function tableFrames(tables: PageTables, into: Set<number>): void {
  for (const node of tables.nodes) {
    const level = tables.mode.levels[node.level];
    const companion = level.level.companion;
    for (const shift of companion === undefined ? [0] : [0, companion]) {
      const start = node.frame * FRAME_BYTES + node.offset + shift + node.first * level.stride;
      const end = start + Math.max(1, node.entries - node.first) * level.stride;
      for (let frame = Math.floor(start / FRAME_BYTES); frame * FRAME_BYTES < end; frame++) into.add(frame);
    }
  }
}
