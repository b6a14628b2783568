/** Linux on x86: protections, edits, predicates and swap-type words (arch/x86/include/asm/pgtable*.h). */
import type { LinuxSide, SwapLayout } from '../mode.ts';

export type X86Shape = '2level' | 'pae' | '4level' | '5level';

/** Swap-type words by format: `wide` 64-bit long mode, `pae`, `2level`. */
export function x86Swap(shape: 'wide' | 'pae' | '2level'): readonly SwapLayout[] {
  if (shape === '2level') return [{ type: '5:1', offset: '31:9' }];
  return [{ type: '63:59', offset: '58:9', inverted: true, flags: { softDirty: '1', uffdWp: '2', exclusive: '3' } }];
}

export function x86Linux(_shape: X86Shape): readonly LinuxSide[] {
  return [];
}
