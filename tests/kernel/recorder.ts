/**
 * A recorder process that plays lists one after the other. Lists and traces are text as in ../shared/oracle/PROTOCOL.md; lists may be
 * handed over before the traces of earlier ones have come.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { buildRecorder } from './build.ts';

/** An operation: `{"op":"mmap","p":0,"a":["0x10000000",4096,3,50,-1,0]}`. */
export interface Operation {
  readonly op: string;
  readonly p: number;
  readonly a: readonly unknown[];
}

/** The first line of a list. `snap`: a snapshot after every so many operations. */
export interface ListHeader {
  readonly ops: 1;
  readonly group: string;
  readonly name: string;
  readonly purpose: string;
  readonly snap: number;
  readonly noref?: 1;
  /** Counters of the whole machine in snapshots: those of the pool of huge pages. */
  readonly sys?: readonly 'hugetlb'[];
}

export interface OperationList {
  readonly header: ListHeader;
  readonly operations: readonly Operation[];
}

export const listText = (list: OperationList): string => `${[list.header, ...list.operations].map((x) => JSON.stringify(x)).join('\n')}\n`;

export class Recorder {
  private waiting: { resolve: (trace: string) => void; reject: (reason: Error) => void }[] = [];
  private pending = '';
  private complaints = '';
  /** Header of the list that was given last. */
  private playing = '';
  private readonly child: ChildProcessWithoutNullStreams;

  constructor(files: { readonly recorder: string; readonly executor: string }, cpu?: number) {
    this.child = spawn(files.recorder, ['--executor', files.executor, ...(cpu === undefined ? [] : ['--cpu', String(cpu)])]);
    this.child.stdout.setEncoding('latin1');
    this.child.stdout.on('data', (text: string) => this.take(text));
    this.child.stderr.on('data', (text: Buffer) => (this.complaints += text.toString()));
    this.child.stdin.on('error', () => {}); // told by 'close'
    this.child.on('close', (code, signal) => {
      const failed = new Error(`recorder ended with ${code ?? signal}: ${this.complaints.trim()}; list: ${this.playing}`);
      for (const w of this.waiting.splice(0)) w.reject(failed);
    });
  }

  private take(text: string): void {
    this.pending += text;
    for (;;) {
      const end = this.pending.indexOf('\n{"end":');
      const stop = end < 0 ? -1 : this.pending.indexOf('\n', end + 1);
      if (stop < 0) return;
      this.waiting.shift()?.resolve(this.pending.slice(0, stop + 1));
      this.pending = this.pending.slice(stop + 1);
    }
  }

  /** Plays a list; the trace ends in `{"end":N}`. */
  record(list: OperationList | string): Promise<string> {
    const text = typeof list === 'string' ? list : listText(list);
    const stripped = text
      .split('\n')
      .filter((line) => line.startsWith('{') && !line.startsWith('{"end"'))
      .join('\n');
    this.playing = stripped.split('\n', 1)[0];
    return new Promise((resolve, reject) => {
      if (this.child.exitCode !== null) return reject(new Error(`recorder has ended: ${this.complaints.trim()}`));
      this.waiting.push({ resolve, reject });
      this.child.stdin.write(`${stripped}\n{"end":0}\n`);
    });
  }

  /** Lets the recorder finish what it was given and end. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) return resolve();
      this.child.on('close', () => resolve());
      this.child.stdin.end();
    });
  }
}

/** A recorder, or the reason why there can be none on this machine. */
export function startRecorder(cpu?: number): Recorder | { readonly skipped: string } {
  const built = buildRecorder();
  return 'skipped' in built ? built : new Recorder(built, cpu);
}
