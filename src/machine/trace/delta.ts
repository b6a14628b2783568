/**
 * Snapshots of a machine in the trace's notation, and what changed from one to the next.
 *
 * Invariants: a snapshot holds the lines of all VMAs of all live processes, keyed by `start-end`; a delta holds only what differs.
 * Files stay in a snapshot when their last descriptor is closed: a trace does not tell of it.
 */
import { PxdError } from '../../pagetable/error.ts';

export type StatusFields = Readonly<Record<string, number>>;

export interface FileFields {
  readonly size: number;
  /** Absent for files on a disk. */
  readonly pages?: number;
}

export interface ProcessSnapshot {
  /** Lines of VMAs by `start-end`. */
  readonly lines: Map<string, string>;
  status: Record<string, number>;
}

export interface Snapshot {
  readonly processes: Map<number, ProcessSnapshot>;
  readonly files: Map<string, FileFields>;
  readonly sys: Map<string, number>;
}

/** Changes of one process: keys of VMAs that are gone, lines new or replaced, status fields that changed. `null`: the process is gone. */
export type ProcessDelta = { readonly gone: readonly string[]; readonly changed: readonly string[]; readonly status: StatusFields } | null;

export interface SnapshotDelta {
  readonly processes: ReadonlyMap<number, ProcessDelta>;
  readonly files: Readonly<Record<string, FileFields>>;
  readonly sys: StatusFields;
}

export const emptySnapshot = (): Snapshot => ({ processes: new Map(), files: new Map(), sys: new Map() });

/** Key of a VMA line: the text up to its first space. */
export const keyOf = (line: string): string => line.slice(0, line.indexOf(' '));

/** Brings a snapshot up to date. */
export function applyDelta(state: Snapshot, delta: SnapshotDelta): void {
  for (const [name, file] of Object.entries(delta.files)) state.files.set(name, file);
  for (const [name, value] of Object.entries(delta.sys)) state.sys.set(name, value);
  for (const [number, change] of delta.processes) {
    if (change === null) {
      state.processes.delete(number);
      continue;
    }
    let process = state.processes.get(number);
    if (process === undefined) {
      process = { lines: new Map(), status: {} };
      state.processes.set(number, process);
    }
    for (const key of change.gone) {
      if (!process.lines.delete(key)) throw new PxdError('bad-image', `the trace says that VMA ${key} of process ${number} is gone, which it never had`);
    }
    for (const line of change.changed) process.lines.set(keyOf(line), line);
    Object.assign(process.status, change.status);
  }
}

/** What leads from one snapshot to the next, as the recorder writes it. */
export function deltaBetween(before: Snapshot, after: Snapshot): SnapshotDelta {
  const processes = new Map<number, ProcessDelta>();
  for (const number of new Set([...before.processes.keys(), ...after.processes.keys()])) {
    const [old, now] = [before.processes.get(number), after.processes.get(number)];
    if (now === undefined) {
      processes.set(number, null);
      continue;
    }
    const gone = old === undefined ? [] : [...old.lines.keys()].filter((key) => !now.lines.has(key));
    const changed = [...now.lines].filter(([key, line]) => old?.lines.get(key) !== line).map(([, line]) => line);
    const status = changedFields(old?.status ?? {}, now.status);
    if (gone.length > 0 || changed.length > 0 || Object.keys(status).length > 0) processes.set(number, { gone, changed, status });
  }
  const files = Object.fromEntries([...after.files].filter(([name, file]) => !sameFile(before.files.get(name), file)));
  const sys = changedFields(Object.fromEntries(before.sys), Object.fromEntries(after.sys));
  return { processes, files, sys };
}

/** The delta as the `s` field of a trace line. */
export function deltaToJson(delta: SnapshotDelta): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [number, change] of [...delta.processes].sort((a, b) => a[0] - b[0])) {
    out[number] =
      change === null
        ? null
        : {
            ...(change.gone.length > 0 ? { '-': change.gone } : {}),
            ...(change.changed.length > 0 ? { '+': change.changed } : {}),
            ...(Object.keys(change.status).length > 0 ? { st: change.status } : {}),
          };
  }
  if (Object.keys(delta.files).length > 0) out.files = delta.files;
  if (Object.keys(delta.sys).length > 0) out.sys = delta.sys;
  return out;
}

export const sameFile = (a: FileFields | undefined, b: FileFields): boolean => a !== undefined && a.size === b.size && a.pages === b.pages;

function changedFields(before: StatusFields, after: StatusFields): StatusFields {
  const out: Record<string, number> = {};
  for (const [key, value] of Object.entries(after)) if (before[key] !== value) out[key] = value;
  return out;
}
