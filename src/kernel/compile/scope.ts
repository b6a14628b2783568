/**
 * Names of a kernel function: every parameter and local is one variable with a name of its own in the generated code, however often the source uses
 * the name, and different from every name that the function takes from outside.
 */
import type { AnyNode, FunctionDeclaration, Identifier, Pattern } from 'acorn';
import { childrenOf, isReference, walk } from './ast.ts';

/** A parameter, local or temporary: a number. */
export interface Variable {
  readonly name: string;
  /** Declared where the function's flow is cut into blocks: a variable of the whole generated function, which may have to wait in the frame. */
  hoisted: boolean;
  /** Place in the frame, counted from the first behind the header; −1: never waits. */
  slot: number;
}

export interface Names {
  readonly params: readonly Variable[];
  /** The variable that an identifier names; undefined for names from outside. */
  variableOf(node: AnyNode): Variable | undefined;
  temporary(): Variable;
}

export function namesOf(fn: FunctionDeclaration): Names {
  const taken = new Set<string>();
  const variables = new Map<AnyNode, Variable>();
  const unresolved: { node: Identifier; scope: Scope }[] = [];

  interface Scope {
    readonly names: Map<string, { variable: Variable | undefined; identifier: Identifier }>;
    readonly outer: Scope | undefined;
  }
  const newScope = (outer: Scope | undefined): Scope => ({ names: new Map(), outer });
  const declared: { name: string; entry: { variable: Variable | undefined; identifier: Identifier } }[] = [];

  function declare(pattern: Pattern, scope: Scope): void {
    if (pattern.type !== 'Identifier') throw new Error(`a ${pattern.type} declares names`);
    const entry = { variable: undefined, identifier: pattern };
    scope.names.set(pattern.name, entry);
    declared.push({ name: pattern.name, entry });
  }

  function declareAll(nodes: readonly AnyNode[], scope: Scope): void {
    for (const node of nodes) if (node.type === 'VariableDeclaration') for (const { id } of node.declarations) declare(id, scope);
  }

  function rec(node: AnyNode, parent: AnyNode | undefined, outer: Scope): void {
    let scope = outer;
    if (node.type === 'BlockStatement') {
      scope = newScope(outer);
      declareAll(node.body, scope);
    } else if (node.type === 'ForStatement') {
      scope = newScope(outer);
      if (node.init) declareAll([node.init], scope);
    } else if (node.type === 'SwitchStatement') {
      rec(node.discriminant, node, outer);
      scope = newScope(outer);
      for (const { consequent } of node.cases) declareAll(consequent, scope);
      for (const one of node.cases) rec(one, node, scope);
      return;
    } else if (node.type === 'Identifier' && isReference(node, parent)) unresolved.push({ node, scope });
    for (const child of childrenOf(node)) rec(child, node, scope);
  }

  const top = newScope(undefined);
  for (const param of fn.params) declare(param, top);
  rec(fn.body, fn, top);

  const resolve = (name: string, from: Scope) => {
    for (let scope: Scope | undefined = from; scope; scope = scope.outer) {
      const entry = scope.names.get(name);
      if (entry) return entry;
    }
    return undefined;
  };
  // Names from outside keep theirs; variables get what is left.
  for (const { node, scope } of unresolved) if (resolve(node.name, scope) === undefined) taken.add(node.name);
  const fresh = (name: string): Variable => {
    let unique = name;
    for (let n = 2; taken.has(unique); n++) unique = `${name}$${n}`;
    taken.add(unique);
    return { name: unique, hoisted: false, slot: -1 };
  };
  for (const { name, entry } of declared) {
    entry.variable = fresh(name);
    variables.set(entry.identifier, entry.variable);
  }
  for (const { node, scope } of unresolved) {
    const variable = resolve(node.name, scope)?.variable;
    if (variable) variables.set(node, variable);
  }
  const params = fn.params.map((param) => variables.get(param) as Variable);
  let temporaries = 0;
  return {
    params,
    variableOf: (node) => variables.get(node),
    temporary: () => ({ name: `$${++temporaries}`, hoisted: true, slot: -1 }),
  };
}

/** Whether a node assigns to a variable. */
export function assigns(node: AnyNode, variable: Variable, names: Names): boolean {
  let found = false;
  walk(node, (at) => {
    if (at.type === 'AssignmentExpression' && names.variableOf(at.left) === variable) found = true;
    if (at.type === 'UpdateExpression' && names.variableOf(at.argument) === variable) found = true;
    return !found;
  });
  return found;
}

/** Whether a node names a variable at all. */
export function mentions(node: AnyNode, variable: Variable, names: Names): boolean {
  let found = false;
  walk(node, (at) => {
    if (names.variableOf(at) === variable) found = true;
    return !found;
  });
  return found;
}
