/**
 * Shared by architectures whose TLB software fills, or whose kernels lack most optional page-table features: predicates that
 * the generic headers answer with a constant.
 */

/** Predicates that are false for every word. */
export const never = (...names: string[]): Record<string, string> => Object.fromEntries(names.map((name) => [name, '0']));

/** PTE predicates that exist only with soft-dirty, userfaultfd, device mappings and NUMA balancing. */
export const noOptionalPte = never('pte_devmap', 'pte_protnone', 'pte_soft_dirty', 'pte_swp_soft_dirty', 'pte_swp_uffd_wp', 'pte_uffd_wp');

/** The same for PMDs. */
export const noOptionalPmd = never(
  'is_pmd_migration_entry',
  'pmd_devmap',
  'pmd_protnone',
  'pmd_soft_dirty',
  'pmd_special',
  'pmd_swp_soft_dirty',
  'pmd_uffd_wp',
);

/** PMD predicates of a kernel that has no huge PMDs at all. */
export const noHugePmd = { ...noOptionalPmd, ...never('pmd_leaf', 'pmd_trans_huge', 'pmd_dirty', 'pmd_young', 'is_swap_pmd') };
