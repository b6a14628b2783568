/**
 * /proc/vmallocinfo: the areas of vmalloc space that are in use, by address, then those that wait for their flush (mm/vmalloc.c: vmalloc_info_show, show_purge_info).
 *
 * Callers are not known here, so lines go without them; addresses stand as the kernel has them, where Linux would hash them (%pK for the unprivileged).
 */
import { get } from '../../memory/heap.ts';
import { globals } from '../../mm/globals.ts';
import { Globals } from '../../mm/types.ts';
import { VM_ALLOC, VM_IOREMAP, VM_MAP, VM_USERMAP, VmapArea, VmStruct } from '../../mm/vmalloc-types.ts';
import type { Machine } from '../machine.ts';

const KINDS = [
  [VM_IOREMAP, ' ioremap'],
  [VM_ALLOC, ' vmalloc'],
  [VM_MAP, ' vmap'],
  [VM_USERMAP, ' user'],
] as const;

/** The text, with a line end each. */
export function vmallocInfo(machine: Machine): string {
  machine.enter();
  const digits = machine.codec.vaBits > 32 ? 16 : 8;
  const hex = (page: number): string =>
    `0x${BigInt.asUintN(digits * 4, BigInt(page) << BigInt(machine.pageShift))
      .toString(16)
      .padStart(digits, '0')}`;
  const span = (start: number, pages: number): string => `${hex(start)}-${hex(start + pages)} ${String(pages * machine.pageSize).padStart(7)}`;
  const busy: { at: number; line: string }[] = [];
  for (let area = get(globals, Globals.vmapBusy); area !== 0; area = get(area, VmapArea.next)) {
    const vm = get(area, VmapArea.vm);
    const at = get(area, VmapArea.start);
    if (vm === 0) {
      busy.push({ at, line: `${span(at, get(area, VmapArea.end) - at)} vm_map_ram\n` });
      continue;
    }
    const flags = get(vm, VmStruct.flags);
    const pages = get(vm, VmStruct.nrPages);
    const phys = get(vm, VmStruct.physAddr);
    const kinds = KINDS.filter(([bit]) => (flags & bit) !== 0).map(([, text]) => text);
    const node = (flags & VM_ALLOC) !== 0 && pages > 0 ? ` N0=${pages}` : '';
    const head = span(get(vm, VmStruct.addr), get(vm, VmStruct.size));
    busy.push({ at, line: `${head}${pages > 0 ? ` pages=${pages}` : ''}${phys > 0 ? ` phys=${hex(phys)}` : ''}${kinds.join('')}${node}\n` });
  }
  busy.sort((a, b) => a.at - b.at);
  const lazy: string[] = [];
  for (let area = get(globals, Globals.vmapLazy); area !== 0; area = get(area, VmapArea.next))
    lazy.push(`${span(get(area, VmapArea.start), get(area, VmapArea.end) - get(area, VmapArea.start))} unpurged vm_area\n`);
  return [...busy.map((b) => b.line), ...lazy].join('');
}
