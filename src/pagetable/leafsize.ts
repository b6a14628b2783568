/** The size of the leaf that an entry says it belongs to, by itself (Linux's pte_leaf_size and its kin). */
import { holds } from '../arch/notation.ts';
import type { CompiledForm, CompiledLevel } from './compile.ts';

/** Pages of the leaf: a group's where the entry carries a group's mark (one that is proof by itself), else the form's own. */
export function leafPagesOf(_level: CompiledLevel, form: CompiledForm, lo: number, hi: number): number {
  for (const group of form.groups) if (!group.group.optional && holds(group.when, lo, hi)) return group.leafPages;
  return form.pages;
}
