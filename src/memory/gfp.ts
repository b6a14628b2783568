/**
 * GFP flags: what a caller of the page allocator asks for and what it lets the allocator do (include/linux/gfp_types.h, gfp.h).
 *
 * Bits are Linux 6.18's own. Nothing may be concluded from one flag about another: whether sleeping is allowed says `gfpflagsAllowBlocking` alone.
 */

export const __GFP_DMA = 0x1;
export const __GFP_HIGHMEM = 0x2;
export const __GFP_DMA32 = 0x4;
export const __GFP_MOVABLE = 0x8;
export const __GFP_RECLAIMABLE = 0x10;
/** The request may use part of the reserve below the min watermark. */
export const __GFP_HIGH = 0x20;
export const __GFP_IO = 0x40;
export const __GFP_FS = 0x80;
export const __GFP_ZERO = 0x100;
export const __GFP_DIRECT_RECLAIM = 0x400;
export const __GFP_KSWAPD_RECLAIM = 0x800;
export const __GFP_WRITE = 0x1000;
export const __GFP_NOWARN = 0x2000;
export const __GFP_RETRY_MAYFAIL = 0x4000;
export const __GFP_NOFAIL = 0x8000;
export const __GFP_NORETRY = 0x10000;
/** Watermarks do not count: the caller is freeing memory. */
export const __GFP_MEMALLOC = 0x20000;
/** The block is one compound page: head and tails. */
export const __GFP_COMP = 0x40000;
export const __GFP_NOMEMALLOC = 0x80000;
export const __GFP_HARDWALL = 0x100000;
export const __GFP_THISNODE = 0x200000;
export const __GFP_ACCOUNT = 0x400000;

export const __GFP_RECLAIM = __GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM;
export const GFP_ATOMIC = __GFP_HIGH | __GFP_KSWAPD_RECLAIM;
export const GFP_KERNEL = __GFP_RECLAIM | __GFP_IO | __GFP_FS;
export const GFP_KERNEL_ACCOUNT = GFP_KERNEL | __GFP_ACCOUNT;
export const GFP_NOWAIT = __GFP_KSWAPD_RECLAIM | __GFP_NOWARN;
export const GFP_NOIO = __GFP_RECLAIM;
export const GFP_NOFS = __GFP_RECLAIM | __GFP_IO;
export const GFP_USER = GFP_KERNEL | __GFP_HARDWALL;
export const GFP_DMA = __GFP_DMA;
export const GFP_DMA32 = __GFP_DMA32;
export const GFP_HIGHUSER = GFP_USER | __GFP_HIGHMEM;
export const GFP_HIGHUSER_MOVABLE = GFP_HIGHUSER | __GFP_MOVABLE;
export const GFP_TRANSHUGE_LIGHT = (GFP_HIGHUSER_MOVABLE | __GFP_COMP | __GFP_NOMEMALLOC | __GFP_NOWARN) & ~__GFP_RECLAIM;
export const GFP_TRANSHUGE = GFP_TRANSHUGE_LIGHT | __GFP_DIRECT_RECLAIM;
/** What page tables are allocated with (GFP_PGTABLE_USER). */
export const GFP_PGTABLE_USER = GFP_KERNEL | __GFP_ZERO | __GFP_ACCOUNT;

/** Zones of a node, lowest first (enum zone_type). A machine need not have all. */
export const ZONE_DMA = 0;
export const ZONE_DMA32 = 1;
export const ZONE_NORMAL = 2;
export const ZONE_HIGHMEM = 3;
export const ZONE_MOVABLE = 4;
export const ZONE_DEVICE = 5;
export const MAX_NR_ZONES = 6;

/** What kind of pages a pageblock holds (enum migratetype). */
export const MIGRATE_UNMOVABLE = 0;
export const MIGRATE_MOVABLE = 1;
export const MIGRATE_RECLAIMABLE = 2;
/** Types that per-CPU lists know. */
export const MIGRATE_PCPTYPES = 3;
export const MIGRATE_HIGHATOMIC = 3;
export const MIGRATE_CMA = 4;
export const MIGRATE_ISOLATE = 5;
export const MIGRATE_TYPES = 6;

/** Orders above this one need not be satisfied by killing or by endless reclaim. */
export const PAGE_ALLOC_COSTLY_ORDER = 3;

/** True when the allocation may sleep. */
export const gfpflagsAllowBlocking = (gfp: number): boolean => (gfp & __GFP_DIRECT_RECLAIM) !== 0;

/** By the four zone bits: the highest zone that may serve (GFP_ZONE_TABLE); combinations of several zones are no requests: −1. */
const zoneTable = Int8Array.from({ length: 16 }, (_, bits) => {
  const zone = bits & (__GFP_DMA | __GFP_HIGHMEM | __GFP_DMA32);
  const movable = (bits & __GFP_MOVABLE) !== 0;
  if (zone === 0) return ZONE_NORMAL;
  if (zone === __GFP_DMA) return ZONE_DMA;
  if (zone === __GFP_DMA32) return ZONE_DMA32;
  if (zone === __GFP_HIGHMEM) return movable ? ZONE_MOVABLE : ZONE_HIGHMEM;
  return -1;
});

/** Highest zone that a request may be served from (gfp_zone); the movable zone only with HIGHMEM and MOVABLE both. −1: no valid request. */
export const gfpZone = (gfp: number): number => zoneTable[gfp & 15];

/** Type of the pageblocks that a request belongs into (gfp_migratetype). */
export const gfpMigratetype = (gfp: number): number => (gfp >> 3) & 3;
