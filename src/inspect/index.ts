/**
 * `pxd/inspect`: questions about images. Everything here loads in a browser; files are opened by `pxd/image`.
 *
 * ```ts
 * const session = openSession(image, { name: 'dump' }, { pid: 79 });
 * for (const root of rootsFor(session.chosen[0], 'user')) {
 *   const tables = tablesOf(session, root);
 *   translateAddress(tables, session.image, 0x401000n).text;   // 'r-xu, 4K page, accessed'
 *   foldHalf(tables, 'user', []).sums;                         // totals by rights and size
 * }
 * ```
 */
export * from './aliases.ts';
export * from './audit.ts';
export * from './audit-text.ts';
export { type CapturedTables, captureOf } from './capture.ts';
export * from './diff.ts';
export { layoutJson, layoutText, overviewText } from './draw-layout.ts';
export { rangeJson, rangeText } from './draw-range.ts';
export { layoutSvg } from './draw-svg.ts';
export { groupText, walkJson, walkText } from './draw-walk.ts';
export { bitsText, composeEntry, type Explained, type ExplainedField, explainEntry, unnamedBits } from './explain.ts';
export { type AreaKind, endOf, type Folded, foldHalf, type Node, type Sum } from './fold.ts';
export * from './hash.ts';
export * from './layout.ts';
export {
  csvWriter,
  forEachRow,
  jsonlWriter,
  kindOfSwap,
  type Missing,
  type NonPresentKind,
  type RowOptions,
  type RowSink,
  type RowText,
  rowText,
  type Total,
  Totals,
} from './leaves.ts';
export { type NamedRegion, regionsOf } from './regions.ts';
export { type Ink, type RenderOptions, sumsText, totalLines, treeLines } from './render-tree.ts';
export { type ScannedRoot, scanRoots } from './scan.ts';
export {
  type AddressSpace,
  type Choice,
  type Confidence,
  type Half,
  openSession,
  rootsFor,
  rootsOfRegisters,
  type Session,
  type Surroundings,
  sameTables,
  tablesOf,
} from './session.ts';
export { FINAL_TABLES, STAGING, type Staging, stageAnomalies, stageRoots, TABLE_DOCS } from './sql-tables.ts';
export { covers, type Reason, type Step, type Translation, translateAddress } from './translate.ts';
export { swapText, takenAway, type Walk, type WalkEnd, type WalkGroup, type WalkStep, walk } from './walk.ts';
export {
  addrEnd,
  type Convention,
  checkTrace,
  type Geometry,
  geometryOf,
  type Handover,
  imageTables,
  populated,
  type RangeStep,
  type RangeTables,
  type RangeTrace,
  walkRange,
} from './walk-range.ts';
export { walkedRoots } from './walked.ts';
export { compileWhere, emptyRow, FILTER_FIELDS, type Filter, type FilterRow, WHERE_HELP } from './where.ts';
