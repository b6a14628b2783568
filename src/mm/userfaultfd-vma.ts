/** What can be asked of a VMA about its userfaultfd (include/linux/userfaultfd_k.h). */
import { get, set } from '../kernel/ops.ts';
import { Vma, type VmaRef } from './types.ts';
import { UFFD_FEATURE_EVENT_REMAP, UFFD_FEATURE_WP_ASYNC, UFFD_FEATURE_WP_UNPOPULATED, UFFD_MINOR, Uffd, type UffdRef } from './userfaultfd-types.ts';
import { VM_UFFD_MISSING, VM_UFFD_WP, VMH_UFFD_MINOR } from './vm-flags.ts';
import { vmaIsAnonymous } from './vm-ops.ts';

/** The modes that a VMA is registered with. */
export const uffdModes = (vma: VmaRef): number =>
  (get(vma, Vma.flags) & (VM_UFFD_MISSING | VM_UFFD_WP)) | ((get(vma, Vma.highFlags) & VMH_UFFD_MINOR) !== 0 ? UFFD_MINOR : 0);

export const userfaultfdMissing = (vma: VmaRef): boolean => (get(vma, Vma.flags) & VM_UFFD_MISSING) !== 0;
export const userfaultfdWp = (vma: VmaRef): boolean => (get(vma, Vma.flags) & VM_UFFD_WP) !== 0;
export const userfaultfdMinor = (vma: VmaRef): boolean => (get(vma, Vma.highFlags) & VMH_UFFD_MINOR) !== 0;
/** userfaultfd_armed: some mode is on. */
export const userfaultfdArmed = (vma: VmaRef): boolean =>
  (get(vma, Vma.flags) & (VM_UFFD_MISSING | VM_UFFD_WP)) !== 0 || (get(vma, Vma.highFlags) & VMH_UFFD_MINOR) !== 0;
/** uffd_disable_fault_around, uffd_disable_huge_pmd_share: every entry must be its own VMA's, and none may come unasked. */
export const userfaultfdOwnEntries = (vma: VmaRef): boolean => userfaultfdWp(vma) || userfaultfdMinor(vma);

const hasFeature = (vma: VmaRef, feature: number): boolean => {
  const ctx = get(vma, Vma.uffd);
  return ctx !== 0 && (get(ctx, Uffd.features) & feature) !== 0;
};

/** userfaultfd_wp_async: the kernel itself takes write protection away. */
export const userfaultfdWpAsync = (vma: VmaRef): boolean => hasFeature(vma, UFFD_FEATURE_WP_ASYNC);
/** userfaultfd_wp_use_markers: entries that map nothing can be write-protected. */
export const userfaultfdWpUseMarkers = (vma: VmaRef): boolean => userfaultfdWp(vma) && (!vmaIsAnonymous(vma) || hasFeature(vma, UFFD_FEATURE_WP_UNPOPULATED));
/** vma_has_uffd_without_event_remap: what moves out of such a VMA is write-protected no longer. */
export const uffdWithoutEventRemap = (vma: VmaRef): boolean => get(vma, Vma.uffd) !== 0 && !hasFeature(vma, UFFD_FEATURE_EVENT_REMAP);

/** userfaultfd_set_ctx: the VMA's context and modes (both 0: none). */
export function userfaultfdSetCtx(vma: VmaRef, ctx: UffdRef, modes: number): void {
  set(vma, Vma.uffd, ctx);
  set(vma, Vma.flags, (get(vma, Vma.flags) & ~(VM_UFFD_MISSING | VM_UFFD_WP)) | (modes & (VM_UFFD_MISSING | VM_UFFD_WP)));
  set(vma, Vma.highFlags, (get(vma, Vma.highFlags) & ~VMH_UFFD_MINOR) | ((modes & UFFD_MINOR) !== 0 ? VMH_UFFD_MINOR : 0));
}
