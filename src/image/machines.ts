/** What machines are called: in ELF headers (`e_machine`) and by `uname -m`. */

interface Machine {
  readonly elf: number;
  readonly name: string;
  /** Beginnings of `uname -m`. */
  readonly uname: readonly string[];
}

const MACHINES: readonly Machine[] = [
  { elf: 62, name: 'x86-64', uname: ['x86_64'] },
  { elf: 3, name: 'i386', uname: ['i386', 'i486', 'i586', 'i686'] },
  { elf: 183, name: 'arm64', uname: ['aarch64'] },
  { elf: 40, name: 'arm', uname: ['arm'] },
  { elf: 243, name: 'riscv', uname: ['riscv'] },
  { elf: 22, name: 's390', uname: ['s390'] },
  { elf: 21, name: 'ppc64', uname: ['ppc64'] },
  { elf: 20, name: 'ppc', uname: ['ppc'] },
  { elf: 8, name: 'mips', uname: ['mips'] },
  { elf: 258, name: 'loongarch', uname: ['loongarch'] },
  { elf: 43, name: 'sparc64', uname: ['sparc64'] },
  { elf: 2, name: 'sparc', uname: ['sparc'] },
  { elf: 4, name: 'm68k', uname: ['m68k'] },
  { elf: 15, name: 'parisc', uname: ['parisc'] },
  { elf: 0x9026, name: 'alpha', uname: ['alpha'] },
];

/** `e_machine` of a kernel that calls its machine so. */
export const elfMachineOf = (uname: string): number | undefined => MACHINES.find((m) => m.uname.some((u) => uname.startsWith(u)))?.elf;

export const machineName = (elf: number): string => MACHINES.find((m) => m.elf === elf)?.name ?? `machine ${elf}`;
