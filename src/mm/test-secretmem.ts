/** What looks at secret memory without a right to, for races and tests. */
import type { Op } from '../kernel/op.ts';
import { get } from '../kernel/ops.ts';
import { getUserPagesFastOnly } from './gup-fast.ts';
import { allocPageVector, FOLL_WRITE, freePageVector, PageVector } from './gup-types.ts';
import { folioIsSecretmem } from './secretmem.ts';
import { folioPut } from './swap.ts';
import type { MmRef, Vpn } from './types.ts';

/** get_user_pages_fast_only() of a page: 0 when it is not had, 1 for ordinary memory, 2 for secret memory. The page is given back. */
export function* lookFast(mm: MmRef, vpn: Vpn): Op<number> {
  const vector = allocPageVector();
  let seen = 0;
  if ((yield* getUserPagesFastOnly(mm, vpn, 1, FOLL_WRITE, vector)) === 1) {
    const page = get(vector, PageVector.pages);
    seen = (yield* folioIsSecretmem(page)) ? 2 : 1;
    yield* folioPut(page);
  }
  freePageVector(vector);
  return seen;
}
