import { direct, fault } from 'sample:direct';
import { step } from 'sample:step';
import { expect, expectTypeOf, it } from 'vitest';
import { type Descriptor, startTask, useStack } from '../../src/kernel/compile/runtime.ts';

it('types of the programs are those of the source without the stars', () => {
  expectTypeOf(fault).toEqualTypeOf<(vpn: number, owner: number, limit: number) => number>();
  expectTypeOf(direct.lockTable).toEqualTypeOf<(owner: number) => number>();
  expectTypeOf(step.fault).toEqualTypeOf<Descriptor<[vpn: number, owner: number, limit: number]>>();
  useStack(new Float64Array(64));
  startTask(0, 64, step.lockTable, 1);
  // @ts-expect-error: one argument too many, for the types and at run time
  expect(() => startTask(0, 64, step.lockTable, 1, 2)).toThrow('lockTable takes 1 arguments, not 2');
  // @ts-expect-error: no such function
  expect(step.noSuchFunction).toBeUndefined();
});
