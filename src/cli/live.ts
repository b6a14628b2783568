/** Shows a live process of this machine: its areas, and what pagemap tells of their pages. */
import type { LiveProcess, LiveRun, LiveVma } from '../image/node/live.ts';
import { grouped, plural, sizeOf } from '../inspect/text.ts';
import { type Io, paint } from './io.ts';
import { cut, wrap } from './table.ts';

/** What `pxd inspect --pid N` prints without an image. */
export function writeLive(process: LiveProcess, io: Io, rows: number): void {
  const { pageBytes, vmas, runs, notes } = process;
  const name = paint(io, 'bold', `pid ${process.pid} ${process.comm}`);
  writeWrapped(io, `${name}: a live process of this machine, as /proc/${process.pid} shows it (areas and frames; not the tables themselves)`);
  for (const note of notes) for (const line of wrap(`note: ${note}`, io.columns)) io.write(`${paint(io, 'yellow', line)}\n`);
  const byVma = new Map<LiveVma, LiveRun[]>();
  for (const run of runs) {
    const list = byVma.get(run.vma);
    if (list) list.push(run);
    else byVma.set(run.vma, [run]);
  }
  io.write(`${paint(io, 'dim', `${'area'.padEnd(33)}    size resident swapped perms page what`)}\n`);
  const lines = vmas.map((vma) => areaLine(vma, byVma.get(vma) ?? [], pageBytes, io));
  const room = Math.max(10, rows - 6 - notes.length);
  const head = lines.length <= room ? lines.length : Math.ceil(room * 0.6);
  for (const line of lines.slice(0, head)) io.write(`${line}\n`);
  if (head < lines.length) {
    const tail = lines.slice(lines.length - (room - head));
    io.write(`${paint(io, 'dim', `… ${plural(lines.length - head - tail.length, 'more area')} (--full shows all)`)}\n`);
    for (const line of tail) io.write(`${line}\n`);
  }
  const count = (kind: LiveRun['kind']): number => runs.reduce((n, r) => n + (r.kind === kind ? r.pages : 0), 0);
  const mapped = vmas.reduce((n, v) => n + Number(v.end - v.start), 0);
  const shared = runs.reduce((n, r) => n + (r.kind === 'present' && !r.exclusive ? r.pages : 0), 0);
  const resident = `${sizeOf(count('present') * pageBytes)} resident in ${grouped(count('present'))} pages (${sizeOf(shared * pageBytes)} shared)`;
  const areas = `${plural(vmas.length, 'area')} of ${sizeOf(mapped)}`;
  writeWrapped(io, `${paint(io, 'bold', 'totals')} ${areas}; ${resident}, ${grouped(count('swap'))} swapped, ${plural(runs.length, 'run')}`);
}

function writeWrapped(io: Io, text: string): void {
  for (const line of wrap(text, io.columns)) io.write(`${line}\n`);
}

function areaLine(vma: LiveVma, runs: readonly LiveRun[], pageBytes: number, io: Io): string {
  const sum = (kind: LiveRun['kind']): number => runs.reduce((n, r) => n + (r.kind === kind ? r.pages * pageBytes : 0), 0);
  const range = `${vma.start.toString(16).padStart(16, '0')}-${vma.end.toString(16).padStart(16, '0')}`;
  const guards = sum('guard');
  const what = [vma.torn ? 'torn' : '', guards > 0 ? `${sizeOf(guards)} guard` : '', vma.name].filter((s) => s !== '').join(', ');
  const swapped = sum('swap');
  const perms = /wx/.test(vma.perms) ? paint(io, ['bold', 'red'], vma.perms) : vma.perms;
  const size = sizeOf(Number(vma.end - vma.start)).padStart(7);
  return cut(
    `${paint(io, 'cyan', range)} ${size} ${sizeOf(sum('present')).padStart(8)} ${(swapped > 0 ? sizeOf(swapped) : '').padStart(7)} ${perms}  ${sizeOf(vma.kernelPageSize).padStart(3)} ${what}`.trimEnd(),
    io.columns,
  );
}

/** One object a run, as `pxd leaves` prints extents; what pagemap cannot tell is left out. */
export function liveJson(run: LiveRun, pageBytes: number): Record<string, unknown> {
  const { vma } = run;
  const common = { va: `0x${run.va.toString(16)}` };
  if (run.kind === 'present') {
    return {
      ...common,
      ...(run.pfn === undefined ? {} : { pa: `0x${(BigInt(run.pfn) * BigInt(pageBytes)).toString(16)}` }),
      bytes: run.pages * pageBytes,
      page: run.pageBytes,
      read: vma.perms[0] === 'r',
      write: vma.perms[1] === 'w',
      exec: vma.perms[2] === 'x',
      user: true,
      present: true,
      ...(run.step === 0 && run.pages > 1 ? { sameFrame: true } : {}),
      ...(run.pageFlags === undefined ? {} : { flags: run.pageFlags }),
      ...(run.mapCount === undefined ? {} : { mapCount: run.mapCount }),
      ...(vma.name === '' ? {} : { name: vma.name }),
    };
  }
  const kind = run.kind === 'guard' ? 'marker' : 'swap';
  return {
    ...common,
    bytes: run.pages * pageBytes,
    page: run.pageBytes,
    present: false,
    kind,
    ...(run.swap ? { swapType: run.swap.type, swapOffset: `0x${run.swap.offset.toString(16)}` } : {}),
  };
}
