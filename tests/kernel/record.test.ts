/**
 * The recorder against recordings made by another program on another day, and what it leaves behind when it is killed. Skipped with one
 * line where this machine cannot be recorded.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildRecorder } from './build.ts';
import { listsOf } from './record.ts';
import { Recorder } from './recorder.ts';

const TRACES = process.env.PXD_TRACES ?? fileURLToPath(new URL('../../../shared/oracle/traces/', import.meta.url));
const built = buildRecorder();
if ('skipped' in built) console.log(`recorder: skipped: ${built.skipped}`);
if (!existsSync(TRACES)) console.log(`recorder: no recordings to compare with in ${TRACES}`);

const REPLAYED = [
  ...['anon/anon_guard', 'anon/anon_growsdown', 'anon/anon_exec', 'anon/anon_r007', 'anon/anon_zero_page_cow'],
  ...['file/file_disk_shared', 'file/file_sysv_shm', 'file/file_seals', 'file/file_r019'],
  ...['fork/fork_cow', 'fork/fork_exit_parent_first', 'fork/fork_r021', 'mlock/mlock_rlimit', 'mlock/mlock_onfault', 'mlock/mlock_r030'],
  ...['misc/misc_overcommit', 'misc/misc_max_map_count', 'misc/misc_pagemap_scan', 'misc/misc_droppable', 'misc/misc_r013', 'gup/gup_r004'],
];

const recorded = (name: string): string => gunzipSync(readFileSync(join(TRACES, `${name}.trace.gz`))).toString('latin1');

/** Referenced is the one number that may be off by a page now and then. */
const withoutReferenced = (trace: string): string[] =>
  trace
    .replace(/\bref=\d+,?/g, '')
    .replace(/, r/g, ' r')
    .trimEnd()
    .split('\n');

describe.skipIf('skipped' in built)('recorder', () => {
  if ('skipped' in built) return;
  let recorder: Recorder;
  beforeAll(() => {
    recorder = new Recorder(built);
  });
  afterAll(() => recorder.close());

  test.skipIf(!existsSync(TRACES)).each(REPLAYED)('%s gives the recorded lines again', async (name) => {
    const [list] = listsOf(recorded(name));
    const [header, ...lines] = withoutReferenced(await recorder.record(list));
    const [wantedHeader, ...wanted] = withoutReferenced(recorded(name));
    expect(lines).toEqual(wanted);
    expect(JSON.parse(header).harness).toEqual(JSON.parse(wantedHeader).harness);
    expect(JSON.parse(header).config.rlimits).toEqual(JSON.parse(wantedHeader).config.rlimits);
  });

  test('every k-th state, and a last one where asked for', async () => {
    const trace = await recorder.record(
      '{"ops":1,"group":"anon","name":"k","purpose":"","snap":3}\n' +
        '{"op":"mmap","p":0,"a":["0x10000000",8192,3,50,-1,0]}\n{"op":"w","p":0,"a":["0x10000000",2,7]}\n{"op":"r","p":0,"a":["0x10000000",3]}\n{"op":"snap","p":0,"a":[]}\n',
    );
    const lines = trace
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.slice(1, -1).map((line) => line.s !== undefined)).toEqual([false, false, true, true]);
    expect(lines[3]).toMatchObject({ r: 2, v: [7, 8, 0], f: [['0x10002000', 1, 11, 1]] });
    expect(lines[3].s['0']['+'][0]).toBe('10000000-10002000 rw-p 0 anon rss=8,pss=8,pd=8,ref=8,an=8 rdwrmrmwmeac 2*aX');
  });

  test('settings, segments, files and processes are gone after SIGKILL', async () => {
    const setting = '/proc/sys/vm/page-cluster';
    const before = readFileSync(setting, 'utf8');
    const segments = () => readFileSync('/proc/sysvipc/shm', 'utf8').trim().split('\n').length;
    const segmentsBefore = segments();
    const child = spawn(built.recorder, ['--executor', built.executor], { stdio: ['pipe', 'ignore', 'ignore'] });
    const operations = [
      { op: 'cfg', p: 0, a: [setting, Number(before) === 1 ? 2 : 1] },
      { op: 'shmget', p: 0, a: [0, 4096, 0o1600] },
      { op: 'open', p: 0, a: ['D/x', 0o102] },
      { op: 'open', p: 0, a: ['T/x', 0o102] },
      { op: 'fork', p: 0, a: [] },
      { op: 'sleep', p: 0, a: [20000] },
    ];
    child.stdin.write(`${operations.map((o) => JSON.stringify(o)).join('\n')}\n`);
    const folders = [`/dev/shm/pxd-recorder.${child.pid}`, `/var/tmp/pxd-recorder.${child.pid}`];
    // the recorder, the keeper and two executors: its children are counted until all are there
    const children = () => readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
    await until(() => folders.every((f) => existsSync(f)) && children().length === 3);
    const tracees = children();
    expect(readFileSync(setting, 'utf8')).not.toBe(before);
    child.kill('SIGKILL');
    await until(
      () =>
        readFileSync(setting, 'utf8') === before &&
        segments() === segmentsBefore &&
        !folders.some((f) => existsSync(f)) &&
        !tracees.some((pid) => existsSync(`/proc/${pid}`)),
    );
  });

  test('nothing is left after an ordinary end', async () => {
    await recorder.record('{"op":"open","p":0,"a":["T/y",66]}\n{"op":"shmget","p":0,"a":[0,4096,896]}\n');
    expect(readdirSync('/dev/shm').filter((f) => f.startsWith('pxd-recorder'))).toEqual([]);
  });

  test('without permission: one sentence and exit code 77', () => {
    if (process.getuid?.() !== 0) return;
    const check = spawnSync('/bin/sh', ['-c', 'exec "$0" "$@"', built.recorder, '--check'], { uid: 65534, gid: 65534, encoding: 'utf8' });
    if (check.error !== undefined || check.status === 126) return; // the build's folder is closed to others
    expect(check.status).toBe(77);
    expect(check.stderr.trim().split('\n')).toHaveLength(1);
  });

  test('input that is no list: one sentence and exit code 2', () => {
    const bad = spawnSync(built.recorder, { input: '{"ops":1}\n{"op":"mmap","p":0,"a":[1,}\n', encoding: 'utf8' });
    expect(bad.status).toBe(2);
    expect(bad.stderr).toBe('not an operation: {"op":"mmap","p":0,"a":[1,\n');
  });
});

test('no compiler: skipped with a sentence', () => {
  const answer = buildRecorder('no-such-compiler');
  expect('skipped' in answer && answer.skipped).toMatch(process.platform === 'linux' ? /no C compiler/ : /Linux/);
});

async function until(holds: () => boolean): Promise<void> {
  const end = Date.now() + 10_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error('did not come to hold within 10 s');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
