/**
 * What every bench prints: a table for people, or with `--json` one object a line. `ratio` is value / referenceValue, both measured in the
 * same run; `goal` is the ratio that is wanted (`<=3`), `limit` the value (`<=15`), `better` the direction of both.
 */
export interface BenchRow {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly reference: string;
  readonly referenceValue: number | null;
  /** Wanted ratio, or null where only the value counts. */
  readonly goal: string | null;
  /** Wanted value, in `unit`. */
  readonly limit: string | null;
  readonly better: 'lower' | 'higher';
}

const round = (x: number): number => Number(x.toPrecision(4));

export function report(rows: readonly BenchRow[], json: boolean): void {
  const full = rows.map((r) => ({
    name: r.name,
    value: round(r.value),
    unit: r.unit,
    reference: r.reference,
    referenceValue: r.referenceValue === null ? null : round(r.referenceValue),
    ratio: r.referenceValue ? round(r.value / r.referenceValue) : null,
    goal: r.goal,
    limit: r.limit,
    better: r.better,
  }));
  if (json) {
    for (const row of full) console.log(JSON.stringify(row));
    return;
  }
  const columns = ['name', 'value', 'unit', 'reference', 'referenceValue', 'ratio', 'goal', 'limit', 'better'] as const;
  const cells = [columns.map(String), ...full.map((r) => columns.map((c) => (r[c] === null ? '-' : String(r[c]))))];
  const widths = columns.map((_, i) => Math.max(...cells.map((row) => row[i].length)));
  const right = new Set(['value', 'referenceValue', 'ratio']);
  for (const row of cells)
    console.log(
      row
        .map((cell, i) => (right.has(columns[i]) ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
        .join('  ')
        .trimEnd(),
    );
}

export const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
