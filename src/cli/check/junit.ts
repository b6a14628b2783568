/** Results as JUnit XML, in the form that CI servers read: a suite an entry, a case a variant and mode. */
import type { Row } from '../../explore/check.ts';

/** Text in XML; characters that XML 1.0 cannot hold are left out. */
const xml = (text: string): string =>
  text
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what XML cannot hold
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;')
    .replace(/\n/g, '&#10;');

const seconds = (ms: number): string => (ms / 1000).toFixed(3);

/** What is wrong with a row, undefined when it is as expected. */
export function complaint(row: Row): string | undefined {
  if (row.ok) return undefined;
  if (row.result === 'violation')
    return `${row.expected === 'clean' ? 'expected clean' : 'expected the violation of another rule'}, found ${row.message ?? row.invariant}`;
  if (row.expected === 'violation') return `expected a violation, found none (${row.result})`;
  return row.result === 'bounded' ? `not exhausted: clean with at most ${row.preemptions} preemptions` : 'not exhausted: stopped by time or memory';
}

function caseOf(row: Row): string {
  const head = `    <testcase classname="pxd.${xml(row.id)}" name="${xml(`${row.variant} ${row.mode}`)}" time="${seconds(row.ms)}"`;
  const wrong = complaint(row);
  const properties = [
    ['states', row.states],
    ['preemptions', row.preemptions ?? ''],
    ['result', row.result],
    ...(row.schedule === null ? [] : [['schedule', row.schedule]]),
  ].map(([name, value]) => `        <property name="${name}" value="${xml(String(value))}"/>`);
  const body = ['      <properties>', ...properties, '      </properties>'];
  if (wrong !== undefined) body.push(`      <failure type="${xml(row.invariant ?? row.result)}" message="${xml(wrong)}"/>`);
  return [`${head}>`, ...body, '    </testcase>'].join('\n');
}

/** The whole document. */
export function junitXml(rows: readonly Row[]): string {
  const failures = (of: readonly Row[]): number => of.filter((row) => !row.ok).length;
  const time = (of: readonly Row[]): string => seconds(of.reduce((sum, row) => sum + row.ms, 0));
  const counts = (of: readonly Row[]): string => `tests="${of.length}" failures="${failures(of)}" errors="0" skipped="0" time="${time(of)}"`;
  const suites = [...new Set(rows.map((row) => row.id))].map((id) => {
    const own = rows.filter((row) => row.id === id);
    return [`  <testsuite name="${xml(id)}" ${counts(own)}>`, ...own.map(caseOf), '  </testsuite>'].join('\n');
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n${[`<testsuites name="pxd check" ${counts(rows)}>`, ...suites, '</testsuites>'].join('\n')}\n`;
}
