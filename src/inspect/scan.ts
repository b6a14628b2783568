/** Finds root tables by structure. */
import type { Registers, Root } from '../arch/mode.ts';
import type { Image } from '../image/image.ts';
import type { CompiledMode } from '../pagetable/compile.ts';

export interface ScannedRoot {
  readonly root: Root;
  readonly registers: Registers;
  readonly evidence: string;
  readonly confidence: 'likely' | 'guess';
}

/** Tables of the image that look like roots, best first. */
export function scanRoots(_mode: CompiledMode, _image: Image): ScannedRoot[] {
  return [];
}
