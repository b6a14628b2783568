/** The catalogue: every entry that can be checked, in the order of its id. */
import type { Scenario } from '../explore/scenario.ts';
import a01 from './a01.ts';
import a17 from './a17.ts';
import c22 from './c22.ts';
import c32 from './c32.ts';
import collapseSync from './collapse-sync.ts';
import e01 from './e01.ts';
import e02 from './e02.ts';
import e02Late from './e02-late.ts';
import e03 from './e03.ts';
import e04 from './e04.ts';
import e05 from './e05.ts';
import e05Mm from './e05-mm.ts';
import e06 from './e06.ts';
import e07 from './e07.ts';
import e08 from './e08.ts';
import e09 from './e09.ts';
import e11 from './e11.ts';
import e12 from './e12.ts';
import e13 from './e13.ts';
import e14 from './e14.ts';
import e14Rmap from './e14-rmap.ts';
import e15 from './e15.ts';
import e17 from './e17.ts';
import e18 from './e18.ts';
import e18Reference from './e18-reference.ts';
import e19 from './e19.ts';
import e21 from './e21.ts';
import e23 from './e23.ts';
import e24 from './e24.ts';
import e25 from './e25.ts';
import e26 from './e26.ts';
import e27 from './e27.ts';
import e27Rmap from './e27-rmap.ts';
import e28 from './e28.ts';
import e29 from './e29.ts';
import e30 from './e30.ts';
import e31 from './e31.ts';
import e32 from './e32.ts';
import e33 from './e33.ts';
import e33Truncate from './e33-truncate.ts';
import e36 from './e36.ts';
import e37 from './e37.ts';
import e47 from './e47.ts';
import e47Dirty from './e47-dirty.ts';
import e47File from './e47-file.ts';
import e47Gup from './e47-gup.ts';
import e47Hugetlb from './e47-hugetlb.ts';
import e48 from './e48.ts';
import e50 from './e50.ts';
import e51 from './e51.ts';
import e52 from './e52.ts';
import e53 from './e53.ts';
import e54 from './e54.ts';
import e55 from './e55.ts';
import e68 from './e68.ts';
import e69 from './e69.ts';
import e69Truncate from './e69-truncate.ts';
import e70 from './e70.ts';
import e70Share from './e70-share.ts';
import e71 from './e71.ts';
import e73 from './e73.ts';
import e74 from './e74.ts';
import e79 from './e79.ts';
import e81 from './e81.ts';
import e81Table from './e81-table.ts';
import e82 from './e82.ts';
import e82Flush from './e82-flush.ts';
import e83 from './e83.ts';
import e84 from './e84.ts';
import e85 from './e85.ts';
import e86 from './e86.ts';
import e87 from './e87.ts';
import e87Exit from './e87-exit.ts';
import e89 from './e89.ts';
import e90 from './e90.ts';
import guardCollapse from './guard-collapse.ts';
import guardInstall from './guard-install.ts';
import gupRetract from './gup-retract.ts';
import gupTableFree from './gup-table-free.ts';
import hugetlbMremap from './hugetlb-mremap.ts';
import khugepagedExit from './khugepaged-exit.ts';
import khugepagedMunmap from './khugepaged-munmap.ts';
import pagemapScan from './pagemap-scan.ts';
import r01 from './r01.ts';
import r02 from './r02.ts';
import r03 from './r03.ts';
import r03Hugetlb from './r03-hugetlb.ts';
import r04 from './r04.ts';
import r04Split from './r04-split.ts';
import r05 from './r05.ts';
import r05File from './r05-file.ts';
import r06 from './r06.ts';
import r07 from './r07.ts';
import r07Truncate from './r07-truncate.ts';
import r08 from './r08.ts';
import r11 from './r11.ts';
import r12 from './r12.ts';
import r14 from './r14.ts';
import r15 from './r15.ts';
import r16 from './r16.ts';
import r17 from './r17.ts';
import r18 from './r18.ts';
import r20 from './r20.ts';
import r21 from './r21.ts';
import r22 from './r22.ts';
import r23 from './r23.ts';
import r24 from './r24.ts';
import r30 from './r30.ts';
import r31 from './r31.ts';
import r32 from './r32.ts';
import r44 from './r44.ts';
import r45 from './r45.ts';
import s17 from './s17.ts';
import sealWrite from './seal-write.ts';
import sealWriteUnmap from './seal-write-unmap.ts';
import tableFree from './table-free.ts';

export const catalogue: readonly Scenario[] = [
  a01,
  a17,
  c22,
  c32,
  collapseSync,
  e01,
  e02,
  e02Late,
  e03,
  e04,
  e05,
  e05Mm,
  e06,
  e07,
  e08,
  e09,
  e11,
  e12,
  e13,
  e14,
  e14Rmap,
  e15,
  e17,
  e18,
  e18Reference,
  e19,
  e21,
  e23,
  e24,
  e25,
  e26,
  e27,
  e27Rmap,
  e28,
  e29,
  e30,
  e31,
  e32,
  e33,
  e33Truncate,
  e36,
  e37,
  e47,
  e47Dirty,
  e47File,
  e47Gup,
  e47Hugetlb,
  e48,
  e50,
  e51,
  e52,
  e53,
  e54,
  e55,
  e68,
  e69,
  e69Truncate,
  e70,
  e70Share,
  e71,
  e73,
  e74,
  e79,
  e81,
  e81Table,
  e82,
  e82Flush,
  e83,
  e84,
  e85,
  e86,
  e87,
  e87Exit,
  e89,
  e90,
  guardCollapse,
  guardInstall,
  gupRetract,
  gupTableFree,
  hugetlbMremap,
  khugepagedExit,
  khugepagedMunmap,
  pagemapScan,
  r01,
  r02,
  r03,
  r03Hugetlb,
  r04,
  r04Split,
  r05,
  r05File,
  r06,
  r07,
  r07Truncate,
  r08,
  r11,
  r12,
  r14,
  r15,
  r16,
  r17,
  r18,
  r20,
  r21,
  r22,
  r23,
  r24,
  r30,
  r31,
  r32,
  r44,
  r45,
  s17,
  sealWrite,
  sealWriteUnmap,
  tableFree,
];
