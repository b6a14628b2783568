/**
 * /sys/kernel/mm/transparent_hugepage: the files by which transparent huge pages are set, for the mounted machine (mm/huge_memory.c, mm/shmem.c).
 *
 * The directory khugepaged is in khugepaged-settings.ts.
 */
import { codec } from '../kernel/arch.ts';
import { get, set } from '../memory/heap.ts';
import { globals } from '../mm/globals.ts';
import { hasPmdLeaves, pmdOrder } from '../mm/huge-orders.ts';
import { Globals } from '../mm/types.ts';
import { PxdError } from '../pagetable/error.ts';
import { bootKhugepaged, khugepagedSetting } from './khugepaged-settings.ts';

const DIRECTORY = '/sys/kernel/mm/transparent_hugepage/';

const ENABLED = ['never', 'madvise', 'always'];
const DEFRAG = ['madvise', 'always', 'defer', 'defer+madvise', 'never'];
const SHMEM = ['never', 'always', 'within_size', 'advise', 'deny', 'force'];
/** What the option huge= of a mount of tmpfs may say. */
const MOUNT = SHMEM.slice(0, 4);

/** Fields with a set of orders for each word that a size may say. */
export const SIZES = {
  enabled: { always: Globals.thpOrdersAlways, madvise: Globals.thpOrdersMadvise, inherit: Globals.thpOrdersInherit },
  shmem_enabled: {
    always: Globals.shmemOrdersAlways,
    advise: Globals.shmemOrdersMadvise,
    inherit: Globals.shmemOrdersInherit,
    within_size: Globals.shmemOrdersWithinSize,
  },
} as const;

/** A setting: its value as the file shows it within brackets, and how to change it. */
export interface Setting {
  read(): string;
  /** @throws {PxdError} 'usage' for what the file does not take */
  write(value: string): void;
}

/** One of several words, kept as its place. */
const choice = (field: number, words: readonly string[]): Setting => ({
  read: () => words[get(globals, field)],
  write: (value) => {
    const at = words.indexOf(value);
    if (at < 0) throw new PxdError('usage', `"${value}" is none of ${words.join(', ')}`);
    set(globals, field, at);
    noteUse();
  },
});

/** What a size says: in which of the sets its order is. */
function sizeSetting(kind: keyof typeof SIZES, order: number): Setting {
  const fields: Readonly<Record<string, number>> = SIZES[kind];
  return {
    read: () => Object.keys(fields).find((word) => (get(globals, fields[word]) & (1 << order)) !== 0) ?? 'never',
    write: (value) => {
      if (value !== 'never' && fields[value] === undefined) throw new PxdError('usage', `"${value}" is none of never, ${Object.keys(fields).join(', ')}`);
      for (const field of Object.values(fields)) set(globals, field, get(globals, field) & ~(1 << order));
      if (value !== 'never') set(globals, fields[value], get(globals, fields[value]) | (1 << order));
      noteUse();
    },
  };
}

/** shmem_enabled_store: what a mount could say as well goes for the kernel's own mount. `force` needs the size of a huge page to inherit it, and no other. */
function shmemEnabled(): Setting {
  const setting = choice(Globals.shmemHuge, SHMEM);
  return {
    read: setting.read,
    write: (value) => {
      if (value === 'force' && get(globals, Globals.shmemOrdersInherit) !== 1 << pmdOrder())
        throw new PxdError('usage', '"force" is for the size of a huge page alone');
      setting.write(value);
      if (MOUNT.includes(value)) set(globals, Globals.shmemMountHuge, MOUNT.indexOf(value));
    },
  };
}

/** The option huge= of the tmpfs that files with names live on (mount -o remount,huge=…). It counts for files that are made from then on, and faults. */
export const tmpfsHuge = (): Setting => choice(Globals.tmpfsHuge, MOUNT);

/** From the first setting that allows any on large folios may be anywhere. */
export function noteUse(): void {
  const fields = [
    Globals.thpEnabled,
    Globals.thpOrdersAlways,
    Globals.thpOrdersMadvise,
    Globals.shmemHuge,
    Globals.tmpfsHuge,
    Globals.shmemOrdersAlways,
    Globals.shmemOrdersMadvise,
    Globals.shmemOrdersWithinSize,
  ];
  if (fields.some((field) => get(globals, field) !== 0)) set(globals, Globals.thpUsed, 1);
}

/** The setting behind a path; undefined where the machine has no such file. */
export function thpSetting(path: string): Setting | undefined {
  if (!path.startsWith(DIRECTORY) || !hasPmdLeaves()) return undefined;
  const name = path.slice(DIRECTORY.length);
  const size = /^hugepages-(\d+)kB\/(enabled|shmem_enabled)$/.exec(name);
  if (size) {
    const order = Math.log2((Number(size[1]) * 1024) / 2 ** codec.pageShift);
    return Number.isInteger(order) && order >= 1 && order <= pmdOrder() ? sizeSetting(size[2] as keyof typeof SIZES, order) : undefined;
  }
  if (name.startsWith('khugepaged/')) return khugepagedSetting(name.slice('khugepaged/'.length));
  if (name === 'enabled') return choice(Globals.thpEnabled, ENABLED);
  if (name === 'defrag') return choice(Globals.thpDefrag, DEFRAG);
  if (name === 'shmem_enabled') return shmemEnabled();
  if (name === 'use_zero_page')
    return { read: () => String(1 - get(globals, Globals.thpNoZeroPage)), write: (value) => set(globals, Globals.thpNoZeroPage, Number(value) === 0 ? 1 : 0) };
  if (name === 'shrink_underused')
    return {
      read: () => String(1 - get(globals, Globals.thpKeepUnderused)),
      write: (value) => set(globals, Globals.thpKeepUnderused, Number(value) === 0 ? 1 : 0),
    };
  if (name === 'hpage_pmd_size') return { read: () => String(2 ** (pmdOrder() + codec.pageShift)), write: () => undefined };
  return undefined;
}

/** What a kernel comes up with: huge pages nowhere, and the size of the pmd level goes by that. */
export function bootThp(): void {
  if (!hasPmdLeaves()) return;
  set(globals, Globals.thpOrdersInherit, 1 << pmdOrder());
  set(globals, Globals.shmemOrdersInherit, 1 << pmdOrder());
  bootKhugepaged();
}
