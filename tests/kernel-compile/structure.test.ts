import fc from 'fast-check';
import { expect, it } from 'vitest';
import { structured } from '../../src/kernel/compile/structure.ts';

type Node = { readonly to: readonly number[]; readonly jumps: boolean };

/** Nested statements as a graph: sequences, branches, loops that are left in the middle, jumps out of any of them. */
function randomGraph(tape: readonly number[]): Node[] {
  const nodes: { to: number[]; jumps: boolean }[] = [];
  let at = 0;
  const next = (n: number): number => (tape[at++] ?? 0) % n;
  const make = (): number => nodes.push({ to: [], jumps: false }) - 1;
  /** Statements that begin in a node; the node in which they end. `outs` may be jumped to. */
  function statements(from: number, depth: number, outs: readonly number[]): number {
    let current = from;
    for (let n = next(4); n > 0 && at < tape.length; n--) {
      const kind = depth > 4 ? 0 : next(5);
      const end = make();
      if (kind === 1) {
        const [yes, no] = [make(), make()];
        nodes[current].to.push(yes, no);
        nodes[statements(yes, depth + 1, outs)].to.push(end);
        nodes[statements(no, depth + 1, outs)].to.push(end);
      } else if (kind === 2) {
        const [head, body] = [make(), make()];
        nodes[current].to.push(head);
        nodes[head].to.push(body, end);
        nodes[statements(body, depth + 1, [...outs, head, end])].to.push(head);
      } else if (kind === 3 && outs.length > 0) {
        const out = outs[next(outs.length)];
        nodes[current].to.push(out, end);
        nodes[current].jumps = next(2) === 0;
      } else if (kind === 4) {
        // A block that is left early.
        const body = make();
        nodes[current].to.push(body);
        nodes[statements(body, depth + 1, [...outs, end])].to.push(end);
      } else nodes[current].to.push(end);
      current = end;
    }
    return current;
  }
  statements(make(), 0, []);
  return nodes;
}

it('gives every walk through a graph the text that makes it', () => {
  let longest = 0;
  fc.assert(
    fc.property(fc.noBias(fc.array(fc.nat(99), { maxLength: 80, size: 'max' })), fc.array(fc.nat(1), { minLength: 60, maxLength: 60 }), (tape, choices) => {
      const nodes = randomGraph(tape);
      const jumpedTo = new Set(nodes.flatMap(({ to, jumps }) => (jumps ? [to[0]] : [])));
      const text = structured<number>({
        entry: 0,
        successors: (n) => nodes[n].to,
        jumpedTo,
        number: (n) => n,
        write: (n, go) => {
          const [first, second] = nodes[n].to;
          const leave = first === undefined ? 'return seen;' : second === undefined ? go(first) : `if (choices[step++ % 60]) {\n${go(first)}\n}\n${go(second)}`;
          return `seen.push(${n}); if (seen.length > 200) return seen;\n${leave}`;
        },
      });
      const written = [...text.matchAll(/seen\.push\((\d+)\)/g)].map(([, n]) => n);
      expect(new Set(written).size, 'written once').toBe(written.length);
      const walked: number[] = new Function('choices', `const seen = []; let step = 0;\n${text}`)(choices);
      const expected: number[] = [];
      for (let n: number | undefined = 0, step = 0; n !== undefined; ) {
        expected.push(n);
        if (expected.length > 200) break;
        const { to }: Node = nodes[n];
        n = to.length < 2 || choices[step++ % 60] ? to[0] : to[1];
      }
      expect(walked).toEqual(expected);
      longest = Math.max(longest, new Set(expected).size);
    }),
    { numRuns: 1000 },
  );
  expect(longest).toBeGreaterThan(10);
});

it('refuses a cycle with two entries', () => {
  const to = [[1, 2], [2], [1]];
  const graph = { entry: 0, successors: (n: number) => to[n], jumpedTo: new Set<number>(), number: (n: number) => n, write: () => '' };
  expect(() => structured(graph)).toThrow('a cycle with two entries');
});
