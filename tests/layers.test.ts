import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { violations } from '../scripts/layers.ts';

const src = join(import.meta.dirname, '../src');

describe('layering', () => {
  it('holds in every source file', () => {
    const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts'));
    expect(files.length).toBeGreaterThan(50);
    expect(files.flatMap((f) => violations(f, readFileSync(join(src, f), 'utf8')))).toEqual([]);
  });

  it('finds an upward import, a Node import in pure code, and an unknown layer', () => {
    expect(violations('arch/x.ts', "import { a } from '../pagetable/entry.ts';")).toHaveLength(1);
    expect(violations('pagetable/x.ts', "import { readFileSync } from 'node:fs';")).toHaveLength(1);
    expect(violations('image/x.ts', "export * from './node/open.ts';")).toHaveLength(1);
    expect(violations('inspect/x.ts', "const m = await import('../cli/run.ts');")).toHaveLength(1);
    expect(violations('odd/x.ts', '')).toHaveLength(1);
  });
});
