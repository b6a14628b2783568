/** What Linux's headers answer alike on all PowerPCs without book3s/64: operations that these MMUs do not have are constants. */
import type { Bits, SwapLayout, Versions } from '../mode.ts';
import { never, noHugePmd, noOptionalPte } from './software.ts';

/** Predicates of a level that are false for every word. */
export const neverAt = (level: string, names: string): Record<string, string> => never(...names.split(' ').map((n) => `${level}_${n}`));

/** No soft-dirty, uffd-wp, devmap or NUMA hints in these PTEs. */
export const pteNever = noOptionalPte;

/** No transparent huge pages, hence none of their states. */
export const pmdNever = { ...noHugePmd, ...neverAt('pmd', 'huge is_leaf large') };

/** Version ranges in which a declaration differs: swap's exclusive bit came with 6.3, protections that tell user by address with 6.7. */
export const ERAS: readonly { readonly kernel: Versions; readonly exclusive: boolean; readonly byRead: boolean }[] = [
  { kernel: '..6.3', exclusive: false, byRead: false },
  { kernel: '6.3..6.7', exclusive: true, byRead: false },
  { kernel: '6.7..', exclusive: true, byRead: true },
];

/** Swap-type words without and with the exclusive bit. */
export const swapLayouts = (layout: Pick<SwapLayout, 'type' | 'offset' | 'pfnBits'>, exclusive: Bits): SwapLayout[] => [
  { ...layout, kernel: '..6.3', levels: ['pte'] },
  { ...layout, kernel: '6.3..', levels: ['pte'], flags: { exclusive } },
];
