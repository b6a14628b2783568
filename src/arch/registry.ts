/** Every paging mode by name. Invariant: names are unique; the order is that of `pxd modes`. */
import { alphaModes } from './alpha.ts';
import { armModes } from './arm.ts';
import { arm64Mode, arm64Modes } from './arm64.ts';
import { loongarchModes } from './loongarch.ts';
import { m68kModes } from './m68k.ts';
import { mipsModes } from './mips.ts';
import type { PagingMode } from './mode.ts';
import { pariscModes } from './parisc.ts';
import { ppc8xxModes } from './powerpc-8xx.ts';
import { book3s32Modes } from './powerpc-book3s32.ts';
import { e500Modes } from './powerpc-e500.ts';
import { powerpc64Modes } from './powerpc64.ts';
import { riscvModes } from './riscv.ts';
import { s390Modes } from './s390.ts';
import { sparc64Modes } from './sparc64.ts';
import { x86Encrypted, x86Modes } from './x86.ts';

const modes: readonly PagingMode[] = [
  ...x86Modes,
  ...armModes,
  ...arm64Modes,
  ...riscvModes,
  ...s390Modes,
  ...powerpc64Modes,
  ...ppc8xxModes,
  ...e500Modes,
  ...book3s32Modes,
  ...loongarchModes,
  ...mipsModes,
  ...sparc64Modes,
  ...m68kModes,
  ...pariscModes,
  ...alphaModes,
];

export const allModes = (): readonly PagingMode[] => modes;

export const modeNames = (): string[] => modes.map((m) => m.name);

/** Families whose modes have a parameter in their name: what is not in the list above is made when it is asked for. */
const makers: readonly ((name: string) => PagingMode | undefined)[] = [x86Encrypted, arm64Mode];

const byName = new Map(modes.map((m) => [m.name, m]));

/** The mode of a name, or undefined. */
export function findMode(name: string): PagingMode | undefined {
  const known = byName.get(name);
  if (known) return known;
  for (const make of makers) {
    const made = make(name);
    if (!made) continue;
    byName.set(name, made);
    return made;
  }
  return undefined;
}

/** Modes whose dumps carry this ELF machine. */
export const guessModes = (elfMachine: number): PagingMode[] => modes.filter((m) => m.elfMachines.includes(elfMachine));
