import { direct, fault } from 'sample:direct';
import { expectTypeOf, it } from 'vitest';

it('types of the programs are those of the source without the stars', () => {
  expectTypeOf(fault).toEqualTypeOf<(vpn: number, owner: number, limit: number) => number>();
  expectTypeOf(direct.lockTable).toEqualTypeOf<(owner: number) => number>();
});
