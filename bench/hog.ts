/**
 * Page tables of a large process, made up: 2740 MiB in 4 KiB pages, one page of each 2 MiB missing, frames in runs of odd lengths.
 * The shape follows a capture of a real process, so that the bench runs where the capture is not.
 */
const BLOCKS = 1370;
const PRESENT = 0x67;

export interface Frames {
  readonly frames: { frame: number; words: Uint32Array }[];
  readonly cr3: bigint;
}

export function makeHog(): Frames {
  const frames: { frame: number; words: Uint32Array }[] = [];
  let free = 0x1000;
  const table = (): { frame: number; words: Uint32Array } => {
    const t = { frame: free++, words: new Uint32Array(1024) };
    frames.push(t);
    return t;
  };
  const put = (words: Uint32Array, index: number, frame: number, low: number, high: number): void => {
    words[2 * index] = ((frame << 12) | low) >>> 0;
    words[2 * index + 1] = (Math.floor(frame / 2 ** 20) | high) >>> 0;
  };
  const pgd = table();
  const pud = table();
  put(pgd.words, 255, pud.frame, PRESENT, 0);
  let data = 0x100000;
  let pmd = table();
  put(pud.words, 0, pmd.frame, PRESENT, 0);
  for (let b = 0; b < BLOCKS; b++) {
    if (b > 0 && b % 512 === 0) {
      pmd = table();
      put(pud.words, b / 512, pmd.frame, PRESENT, 0);
    }
    const pte = table();
    put(pmd.words, b % 512, pte.frame, PRESENT, 0);
    if (b % 7 === 0) data += 3;
    for (let i = 0; i < 512; i++) if (i !== (b * 37) % 512) put(pte.words, i, data++, PRESENT | 0x800, 0x80000000);
  }
  return { frames, cr3: BigInt(pgd.frame) << 12n };
}
