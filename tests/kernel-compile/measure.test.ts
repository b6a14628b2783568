import { expect, it } from 'vitest';
import { RUNTIME, runBundled, sample } from './bundle.ts';

it('measures a fault of eight operations, calls three deep (printed, not judged)', async () => {
  const printed = await runBundled(`
    import { direct } from 'sample:direct';
    import { step } from 'sample:step';
    import { advance, S, startTask, TASK, useStack } from ${RUNTIME};
    import * as native from ${sample('measured.ts')};
    import { effects, pending } from ${sample('op.ts')};
    import { memory } from ${sample('state.ts')};
    useStack(new Float64Array(256));
    const forms = {
      direct: () => direct.measured(5, 1),
      native: () => { const op = native.measured(5, 1); for (;;) { const { done, value } = op.next(); if (done) return value; } },
      step: () => {
        startTask(0, 64, step.measured, 5, 1);
        while (advance(0)) S[TASK.result] = effects[S[TASK.code]](S[TASK.a], S[TASK.b], S[TASK.c], S[TASK.d]);
        return S[TASK.result];
      },
    };
    const result = {};
    for (const [name, run] of Object.entries(forms)) {
      let best = Infinity, sum = 0;
      for (let round = 0; round < 6; round++) {
        const n = name === 'direct' ? 2000000 : 100000;
        const start = process.cpuUsage();
        for (let i = 0; i < n; i++) { memory[21] = 0; sum += run(); }
        const { user, system } = process.cpuUsage(start);
        best = Math.min(best, ((user + system) * 1000) / n);
      }
      result[name] = Number(best.toFixed(1));
      if (sum !== 0) throw new Error(name + ' gives ' + sum);
    }
    console.log(JSON.stringify(result));
  `);
  const nanoseconds = JSON.parse(printed);
  console.log(
    `a fault of 8 operations, calls 3 deep: ${Object.entries(nanoseconds)
      .map(([name, ns]) => `${name} ${ns} ns`)
      .join(', ')} of CPU time`,
  );
  expect(Object.keys(nanoseconds)).toEqual(['direct', 'native', 'step']);
});
