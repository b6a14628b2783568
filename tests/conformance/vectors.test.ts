import { basename } from 'node:path';
import { describe, expect, it } from 'vitest';
import { vectorFiles } from '../support/fixtures.ts';
import { compareVectors, loadVectors } from './vector-truth.ts';

describe.each(vectorFiles().map((f) => [basename(f, '.json.gz'), f]))('vectors %s', (_, file) => {
  it('agree in geometry, encodings, meanings, predicates and swap-type entries', () => {
    const result = compareVectors(loadVectors(file));
    expect(result.differences).toEqual([]);
    expect(result.encoded).toBeGreaterThan(50);
    // sun4v was recorded with the answers of sun4u's predicates (boot-time patching off): they say nothing of its leaves.
    expect(result.decoded).toBeGreaterThan(result.mode === 'sparc64-sun4v' ? 0 : 20);
    expect(result.predicates).toBeGreaterThan(500);
    expect(result.geometry).toBeGreaterThan(3);
  });
});
