/**
 * I31 and I19: the VMAs of each address space, what it counts, and the trees of reverse mapping.
 */
import { get } from '../../memory/heap.ts';
import { heap, pageShift } from '../../memory/state.ts';
import { INODE_SYSV } from '../file-types.ts';
import { globals } from '../globals.ts';
import { AnonVma, Avc, File, Globals, Inode, Mm, Shm, Vma } from '../types.ts';
import { isDataMapping, isExecMapping, isStackMapping } from '../util.ts';
import { VM_ACCOUNT, VM_LOCKED, VM_NORESERVE } from '../vm-flags.ts';
import { isSharedMaywrite } from '../vma.ts';
import { type Census, liveOf, type Space } from './census.ts';
import { type Findings, hex } from './findings.ts';

const pagesOf = (vma: number): number => get(vma, Vma.end) - get(vma, Vma.start);
const text = (vma: number): string => `VMA ${vma} [${hex(get(vma, Vma.start))}, ${hex(get(vma, Vma.end))})`;

/** The list: in order, disjoint, of this mm, attached, linked both ways. */
function checkList({ mm, vmas }: Space, found: Findings): void {
  let before = 0;
  for (const vma of vmas) {
    if (heap[vma] !== Vma.$type) {
      found.add('I19', `mm ${mm}: ${vma} in the list of VMAs is no living VMA`);
      return;
    }
    if (get(vma, Vma.mm) !== mm) found.add('I31', `${text(vma)} belongs to mm ${get(vma, Vma.mm)}, but hangs in mm ${mm}`);
    if (!(get(vma, Vma.start) < get(vma, Vma.end))) found.add('I31', `${text(vma)} is empty`);
    if (before !== 0 && get(before, Vma.end) > get(vma, Vma.start)) found.add('I31', `${text(before)} and ${text(vma)} overlap`);
    if (get(vma, Vma.prev) !== before) found.add('I31', `${text(vma)}: prev is ${get(vma, Vma.prev)}, ${before} expected`);
    if (get(vma, Vma.end) > get(mm, Mm.taskSize)) found.add('I31', `${text(vma)} ends above TASK_SIZE`);
    if (get(vma, Vma.refcnt) !== 1) found.add('I19', `${text(vma)}: vm_refcnt is ${get(vma, Vma.refcnt)}, 1 expected: attached and without readers`);
    before = vma;
  }
}

/** The tree: the VMAs of the list in order, its gaps. Returns them. */
function checkTree({ mm, vmas }: Space, found: Findings): void {
  const inOrder: number[] = [];
  const walk = (node: number, parent: number, depth: number): number => {
    if (node === 0) return 0;
    if (depth > 4096 || heap[node] !== Vma.$type) {
      found.add('I31', `mm ${mm}: the tree of VMAs leads to ${node}, which is none`);
      return 0;
    }
    if (get(node, Vma.parent) !== parent) found.add('I31', `${text(node)}: parent is ${get(node, Vma.parent)}, ${parent} expected`);
    let gap = walk(get(node, Vma.left), node, depth + 1);
    const prev = get(node, Vma.prev);
    inOrder.push(node);
    gap = Math.max(gap, get(node, Vma.start) - (prev === 0 ? 0 : get(prev, Vma.end)));
    gap = Math.max(gap, walk(get(node, Vma.right), node, depth + 1));
    if (get(node, Vma.maxGap) !== gap) found.add('I31', `${text(node)}: the largest gap of its subtree is ${gap}, ${get(node, Vma.maxGap)} noted`);
    return gap;
  };
  walk(get(mm, Mm.vmas), 0, 0);
  if (inOrder.length !== vmas.length || inOrder.some((vma, i) => vma !== vmas[i]))
    found.add('I31', `mm ${mm}: the tree holds VMAs ${inOrder.join(' ')}, the list ${vmas.join(' ')}`);
}

/** map_count, total_vm and its parts, locked_vm. */
function checkAccounts({ mm, vmas }: Space, leaks: boolean, found: Findings): void {
  const sum = (counts: (flags: number) => boolean): number => vmas.reduce((n, vma) => n + (counts(get(vma, Vma.flags)) ? pagesOf(vma) : 0), 0);
  const is = (what: string, field: number, expected: number): void => found.equal('I31', `mm ${mm}: ${what}`, get(mm, field), expected);
  is('map_count', Mm.mapCount, vmas.length);
  is(
    'total_vm',
    Mm.totalVm,
    sum(() => true),
  );
  found.account(
    'I31',
    `mm ${mm}: locked_vm`,
    get(mm, Mm.lockedVm),
    sum((flags) => (flags & VM_LOCKED) !== 0),
    leaks,
  );
  is('exec_vm', Mm.execVm, sum(isExecMapping));
  is(
    'stack_vm',
    Mm.stackVm,
    sum((flags) => !isExecMapping(flags) && isStackMapping(flags)),
  );
  is(
    'data_vm',
    Mm.dataVm,
    sum((flags) => !isExecMapping(flags) && !isStackMapping(flags) && isDataMapping(flags)),
  );
}

/** vm_committed_as: what VMAs with VM_ACCOUNT and objects in shared memory have been promised. */
function checkCommitted(census: Census, leaks: boolean, found: Findings): void {
  let committed = 0;
  for (const { vmas } of census.spaces) for (const vma of vmas) if ((get(vma, Vma.flags) & VM_ACCOUNT) !== 0) committed += pagesOf(vma);
  for (const inode of liveOf(census, Inode)) {
    if (get(inode, Inode.kind) > INODE_SYSV) continue;
    committed += (get(inode, Inode.flags) & VM_NORESERVE) !== 0 ? get(inode, Inode.alloced) : Math.ceil(get(inode, Inode.size) / 2 ** pageShift);
  }
  found.account('I31', 'committed memory', get(globals, Globals.committed), committed, leaks);
}

// --- reverse mapping --------------------------------------------------------------------------------------------------------

/** Nodes of an interval tree in order; their intervals' ends. */
function intervalNodes(root: number, isAvc: boolean, found: Findings): number[] {
  const nodes: number[] = [];
  const base = isAvc ? Avc.left : Vma.sharedLeft;
  const struct = isAvc ? Avc : Vma;
  const vmaOf = (node: number): number => (isAvc ? get(node, Avc.vma) : node);
  const walk = (node: number, parent: number, depth: number): number => {
    if (node === 0) return -1;
    if (depth > 4096 || heap[node] !== struct.$type || heap[vmaOf(node)] !== Vma.$type) {
      found.add('I31', `the interval tree at slot ${root} leads to ${node}, which is no living node`);
      return -1;
    }
    let last = walk(heap[node + base], node, depth + 1);
    const vma = vmaOf(node);
    const before = nodes[nodes.length - 1];
    if (before !== undefined && get(vmaOf(before), Vma.pgoff) > get(vma, Vma.pgoff))
      found.add('I31', `the interval tree at slot ${root} is out of order at ${text(vma)}`);
    nodes.push(node);
    last = Math.max(last, get(vma, Vma.pgoff) + pagesOf(vma) - 1, walk(heap[node + base + 1], node, depth + 1));
    if (heap[node + base + 2] !== parent)
      found.add('I31', `the interval tree at slot ${root}: parent of ${node} is ${heap[node + base + 2]}, ${parent} expected`);
    if (heap[node + base + 3] !== last)
      found.add('I31', `the interval tree at slot ${root}: the last page below ${node} is ${last}, ${heap[node + base + 3]} noted`);
    return last;
  };
  walk(heap[root], 0, 0);
  return nodes;
}

const sameSet = (a: readonly number[], b: readonly number[]): boolean => a.length === b.length && new Set(a).size === a.length && b.every((x) => a.includes(x));

/** The trees of inodes hold exactly the VMAs that map them; writable shared mappings are counted. */
function checkFileTrees(census: Census, all: readonly number[], found: Findings): void {
  const byInode = new Map<number, number[]>();
  for (const vma of all) {
    const file = get(vma, Vma.file);
    if (file === 0) continue;
    const inode = get(file, File.inode);
    byInode.set(inode, [...(byInode.get(inode) ?? []), vma]);
  }
  for (const inode of liveOf(census, Inode)) {
    const mapped = byInode.get(inode) ?? [];
    const tree = intervalNodes(inode + Inode.iMmap, false, found);
    if (!sameSet(tree, mapped)) found.add('I31', `inode ${inode}: i_mmap holds VMAs ${tree.join(' ') || 'none'}, mapped by ${mapped.join(' ') || 'none'}`);
    const writable = mapped.filter((vma) => isSharedMaywrite(get(vma, Vma.flags))).length;
    const noted = get(inode, Inode.iMmapWritable);
    // Negative: a seal has forbidden such mappings.
    if (noted < 0 ? writable !== 0 : noted !== writable) found.add('I31', `inode ${inode}: i_mmap_writable is ${noted}, ${writable} such mappings exist`);
  }
}

/** Chains and trees of anon_vmas, and their counts. */
function checkAnonTrees(census: Census, all: readonly number[], found: Findings): void {
  const avcs = liveOf(census, Avc);
  const anonVmas = liveOf(census, AnonVma);
  const listed = new Set<number>();
  for (const vma of all) {
    let before = 0;
    const seen = new Set<number>();
    for (let avc = get(vma, Vma.avcs); avc !== 0 && !seen.has(avc); avc = get(avc, Avc.next)) {
      seen.add(avc);
      listed.add(avc);
      if (heap[avc] !== Avc.$type) {
        found.add('I19', `${text(vma)}: its list of chains leads to ${avc}, which is none`);
        break;
      }
      if (get(avc, Avc.vma) !== vma) found.add('I31', `chain ${avc} in the list of ${text(vma)} is of VMA ${get(avc, Avc.vma)}`);
      if (get(avc, Avc.prev) !== before) found.add('I31', `chain ${avc} of ${text(vma)}: prev is ${get(avc, Avc.prev)}, ${before} expected`);
      before = avc;
    }
    const anonVma = get(vma, Vma.anonVma);
    if (anonVma === 0 ? seen.size !== 0 : ![...seen].some((avc) => get(avc, Avc.anonVma) === anonVma))
      found.add('I31', `${text(vma)} has anon_vma ${anonVma}, but chains to ${[...seen].map((avc) => get(avc, Avc.anonVma)).join(' ') || 'none'}`);
    const roots = new Set([...seen].map((avc) => get(get(avc, Avc.anonVma), AnonVma.root)));
    if (roots.size > 1) found.add('I31', `${text(vma)}: chains to families ${[...roots].join(' ')}`);
  }
  for (const avc of avcs) if (!listed.has(avc)) found.add('heap', `chain ${avc} is in no VMA's list`);
  for (const anonVma of anonVmas) {
    const tree = intervalNodes(anonVma + AnonVma.tree, true, found);
    const chained = avcs.filter((avc) => get(avc, Avc.anonVma) === anonVma);
    if (!sameSet(tree, chained))
      found.add('I31', `anon_vma ${anonVma}: its tree holds chains ${tree.join(' ') || 'none'}, ${chained.join(' ') || 'none'} lead to it`);
    const root = get(anonVma, AnonVma.root);
    const children = anonVmas.filter((other) => get(other, AnonVma.parent) === anonVma).length;
    const active = all.filter((vma) => get(vma, Vma.anonVma) === anonVma).length;
    const descendants = root === anonVma ? anonVmas.filter((other) => other !== anonVma && get(other, AnonVma.root) === anonVma).length : 0;
    found.equal('I31', `anon_vma ${anonVma}: number of children`, get(anonVma, AnonVma.numChildren), children);
    found.equal('I31', `anon_vma ${anonVma}: number of active VMAs`, get(anonVma, AnonVma.numActiveVmas), active);
    found.equal('I19', `anon_vma ${anonVma}: references`, get(anonVma, AnonVma.refcount), descendants + (chained.length > 0 ? 1 : 0));
  }
}

/** Attachments of SysV segments. */
function checkSegments(census: Census, all: readonly number[], found: Findings): void {
  for (const shm of liveOf(census, Shm)) {
    const attached = all.filter((vma) => get(vma, Vma.file) !== 0 && get(get(vma, Vma.file), File.shm) === shm).length;
    found.equal('I19', `SysV segment ${get(shm, Shm.id)}: attachments`, get(shm, Shm.attaches), attached);
  }
}

export function checkVmas(census: Census, leaks: boolean, found: Findings): void {
  for (const space of census.spaces) {
    checkList(space, found);
    checkTree(space, found);
    // What one that has ended had counted nobody asks for.
    if (get(space.mm, Mm.users) > 0) checkAccounts(space, leaks, found);
  }
  const all = census.spaces.flatMap((s) => s.vmas);
  checkCommitted(census, leaks, found);
  checkFileTrees(census, all, found);
  checkAnonTrees(census, all, found);
  checkSegments(census, all, found);
}
