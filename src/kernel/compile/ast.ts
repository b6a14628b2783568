/** Walking acorn's trees: children in the order of the text, and which nodes contain a `yield`. */
import type { AnyNode, Node } from 'acorn';

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && typeof (value as Node).type === 'string';

/** Children of a node in the order of the text. */
export function childrenOf(node: Node): AnyNode[] {
  const found: AnyNode[] = [];
  for (const value of Object.values(node)) {
    if (Array.isArray(value)) for (const item of value) isNode(item) && found.push(item as AnyNode);
    else if (isNode(value)) found.push(value as AnyNode);
  }
  return found.sort((a, b) => a.start - b.start);
}

/** Calls `visit` for a node and all below it, parents first; where it answers false, not for what is below. */
export function walk(node: Node, visit: (node: AnyNode, parent: AnyNode | undefined) => boolean | undefined): void {
  const rec = (at: AnyNode, parent: AnyNode | undefined): void => {
    if (visit(at, parent) === false) return;
    for (const child of childrenOf(at)) rec(child, at);
  };
  rec(node as AnyNode, undefined);
}

const known = new WeakMap<Node, boolean>();

/** Whether a `yield` stands in the node. */
export function hasYield(node: Node | null | undefined): boolean {
  if (!node) return false;
  let found = known.get(node);
  if (found === undefined) {
    found = node.type === 'YieldExpression' || childrenOf(node).some(hasYield);
    known.set(node, found);
  }
  return found;
}

/** Whether an identifier is a name by itself (not the property of a member, not a label, not the name in an import). */
export function isReference(node: AnyNode, parent: AnyNode | undefined): boolean {
  if (node.type !== 'Identifier') return false;
  if (parent?.type === 'MemberExpression') return parent.object === node || parent.computed;
  if (parent?.type === 'Property') return parent.value === node || parent.computed;
  return parent?.type !== 'LabeledStatement' && parent?.type !== 'BreakStatement' && parent?.type !== 'ContinueStatement' && parent?.type !== 'MetaProperty';
}
