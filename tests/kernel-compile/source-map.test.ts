import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { describe, expect, it } from 'vitest';
import { DIALECT, stripTypes } from '../../scripts/kernel-program.mjs';
import { toStep } from '../../src/kernel/compile/index.ts';

const file = (name: string): string => new URL(`sample/${name}`, import.meta.url).pathname;

describe('the step program’s map, as Node reads it', () => {
  it.each(['constructs.ts', 'fault.ts'])('leads every plain call of %s to the same call in the TypeScript', async (name) => {
    const path = file(name);
    const source = readFileSync(path, 'utf8');
    const { code: javascript, map: stripped } = await stripTypes(source, path);
    const { code, map } = toStep({
      source,
      path,
      label: name,
      javascript,
      map: stripped as { mappings: string },
      files: { isPrimitives: (imported) => DIALECT.primitives.includes(imported) },
      runtime: 'runtime',
    });
    const reader = new SourceMap({ ...map, file: name, sourceRoot: '', sources: [...map.sources], names: [], sourcesContent: [source] } as never);
    const lines = source.split('\n');
    // A call that may come before and after a wait stands in two functions.
    const calls = new Set<string>();
    code.split('\n').forEach((text, line) => {
      for (const { index, 1: callee } of text.matchAll(/(?<![.\w$]|function )(sum|isOdd|clampIndex|odd_|failure|breakDown)(?=\()/g)) {
        const entry = reader.findEntry(line, index) as { originalLine: number; originalColumn: number };
        expect(lines[entry.originalLine].slice(entry.originalColumn), `${line + 1}: ${text}`).toMatch(new RegExp(`^${callee}\\b`));
        calls.add(`${entry.originalLine}:${entry.originalColumn}`);
      }
    });
    expect(calls.size).toBe([...source.matchAll(/(?<!function )\b(sum|isOdd|clampIndex|odd_|failure|breakDown)\(/g)].length);
  });
});
