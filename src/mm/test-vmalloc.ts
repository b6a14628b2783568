/** Users of vmalloc space that do one thing after the other, for tests and races (Linux: lib/test_vmalloc.c). */
import type { Op } from '../kernel/op.ts';
import { get, userLoad } from '../kernel/ops.ts';
import { globals } from './globals.ts';
import { PAGE_KERNEL } from './kernel-map.ts';
import { Globals, Mm, type Page } from './types.ts';
import { vmapPage, vmUnmapAliases, vunmap } from './vmalloc.ts';

/** A CPU loads the first word of a page of the kernel's through the translation that it holds, or by a walk: the word and 1; 0 for a fault. */
export function* kernelLoad(vpn: number): Op<number> {
  const init = get(globals, Globals.initMm);
  return yield* userLoad(init, get(init, Mm.pgd), vpn);
}

/** Maps a page, looks at its first word there, unmaps it and has everything flushed. The word and 1, 0 for a fault, or −errno. */
export function* vmapLoadUnmap(page: Page): Op<number> {
  const vpn = yield* vmapPage(page, PAGE_KERNEL);
  if (vpn < 0) return vpn;
  const word = yield* kernelLoad(vpn);
  yield* vunmap(vpn);
  yield* vmUnmapAliases();
  return word;
}
