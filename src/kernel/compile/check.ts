/**
 * The dialect check: what kernel code may be made of, so that its two programs mean the same (DESIGN section 5).
 *
 * It sees one file's text without types; what other modules export is asked for (`generatorsOf`). Places are those of the TypeScript.
 */
import { type AnyNode, type CallExpression, type FunctionDeclaration, type Identifier, type MemberExpression, type Program, parse } from 'acorn';
import { hasYield, isReference, walk } from './ast.ts';
import { type Names, namesOf } from './scope.ts';
import { MappedText } from './source-map.ts';
import { placeOf, scan } from './tokens.ts';
import type { RuleName, Violation } from './violation.ts';

export interface CheckInput {
  /** TypeScript. */
  readonly source: string;
  /** Its name in violations. */
  readonly file: string;
  /** The source without its types, and the map that leads back. */
  readonly javascript: string;
  readonly map: { readonly mappings: string };
  /** Names that a module exports which are generator functions or primitives; undefined where that is not known (then the imports are believed). */
  readonly generatorsOf?: (specifier: string) => ReadonlySet<string> | undefined;
  /** Kernel functions in a file of other code (a scenario's): the rules hold inside of them, and the rest may hand them around as values. */
  readonly hosted?: boolean;
}

/** All violations of a file, in the order of the text. */
export function checkDialect(given: CheckInput): Violation[] {
  const { source, file } = given;
  const found: Violation[] = [];
  const at = (offset: number, name: RuleName, sentence: string): void => void found.push({ file, ...placeOf(source, offset), name, sentence });
  const { plainYields, optionalParameters } = scan(source, file);
  for (const offset of plainYields) at(offset, 'plain-yield', 'Only primitives wait: write yield* and a call of a kernel function.');
  for (const { at: offset, name } of optionalParameters)
    at(offset, 'pattern', `Parameter ${name} is optional; an absent number would be what the frame held before.`);
  const input = new MappedText(given.javascript, given.map.mappings);
  let program: Program;
  try {
    program = parse(given.javascript, { ecmaVersion: 'latest', sourceType: 'module' });
  } catch (error) {
    const { pos, message } = error as { pos?: number; message: string };
    const place = input.place(pos ?? 0) ?? { line: 0, column: 0 };
    return [{ file, line: place.line + 1, column: place.column + 1, name: 'syntax', sentence: `${message.replace(/ \(\d+:\d+\)$/, '')}.` }];
  }
  found.push(...new Checker(file, input, given.generatorsOf, given.hosted === true).check(program));
  return found.sort((a, b) => a.line - b.line || a.column - b.column);
}

const HOST = new Set([
  ...['Date', 'console', 'process', 'performance', 'crypto', 'fetch', 'globalThis', 'window', 'self', 'setTimeout', 'setInterval', 'setImmediate'],
  ...['queueMicrotask', 'Promise', 'Worker', 'navigator', 'require', 'eval', 'Function', 'WeakRef', 'FinalizationRegistry'],
]);

/** Methods that change what they are called on. */
const CHANGES = new Set(['push', 'pop', 'shift', 'unshift', 'splice', 'sort', 'reverse', 'fill', 'set', 'add', 'delete', 'clear', 'copyWithin']);
const LET_IN = 'A module-level let would be another in each program: kernel state lies in typed memory.';
const CONDITION_OPERATORS = new Set(['===', '!==', '==', '!=']);

/** What may stand in a generator function; all other kinds of nodes have a sentence below, or are statements that the dialect does not have. */
const ALLOWED = new Set([
  ...['BlockStatement', 'EmptyStatement', 'ExpressionStatement', 'VariableDeclaration', 'VariableDeclarator', 'IfStatement', 'WhileStatement'],
  ...['DoWhileStatement', 'ForStatement', 'SwitchStatement', 'SwitchCase', 'LabeledStatement', 'BreakStatement', 'ContinueStatement', 'ReturnStatement'],
  ...['ThrowStatement', 'Identifier', 'Literal', 'BinaryExpression', 'LogicalExpression', 'ConditionalExpression', 'UnaryExpression', 'UpdateExpression'],
  ...['AssignmentExpression', 'SequenceExpression', 'MemberExpression', 'CallExpression', 'YieldExpression', 'ParenthesizedExpression'],
]);

const REFUSED: Readonly<Record<string, readonly [RuleName, string]>> = {
  FunctionDeclaration: ['closure', 'A function inside a generator function would have to live in its frame.'],
  FunctionExpression: ['closure', 'A function inside a generator function would have to live in its frame.'],
  ArrowFunctionExpression: ['closure', 'A function inside a generator function would have to live in its frame.'],
  TryStatement: ['try-catch', 'A frame has no handlers: use results and labelled blocks.'],
  ObjectExpression: ['object', 'An object cannot lie in a frame: use a struct of the heap.'],
  ArrayExpression: ['object', 'An array cannot lie in a frame: use a struct of the heap.'],
  NewExpression: ['object', 'An object cannot lie in a frame: use a struct of the heap.'],
  ClassDeclaration: ['object', 'A class cannot lie in a frame.'],
  ClassExpression: ['object', 'A class cannot lie in a frame.'],
  TemplateLiteral: ['text', 'A text cannot lie in a frame: make it in a plain function.'],
  TaggedTemplateExpression: ['text', 'A text cannot lie in a frame: make it in a plain function.'],
  SpreadElement: ['pattern', 'Spread needs an array: pass numbers one by one.'],
  RestElement: ['pattern', 'A rest parameter is an array: name the numbers one by one.'],
  AssignmentPattern: ['pattern', 'A default needs undefined: pass the number.'],
  ObjectPattern: ['pattern', 'Destructuring needs an object: read the fields one by one.'],
  ArrayPattern: ['pattern', 'Destructuring needs an array: read the elements one by one.'],
  AwaitExpression: ['async', 'Kernel code waits in primitives only: use yield*.'],
  ThisExpression: ['receiver', 'A kernel function has no this.'],
  Super: ['receiver', 'A kernel function has no super.'],
  MetaProperty: ['receiver', 'A kernel function has no new.target or import.meta.'],
  ChainExpression: ['operator', 'Numbers are never undefined: ?. has nothing to do.'],
  ImportExpression: ['operator', 'import() waits: import at the top of the file.'],
  ForInStatement: ['statement', 'for … in walks an object: use a loop that counts.'],
  ForOfStatement: ['statement', 'for … of walks an object: use a loop that counts.'],
  WithStatement: ['statement', 'with is not in the dialect.'],
  DebuggerStatement: ['statement', 'debugger is not in the dialect.'],
};

class Checker {
  readonly #file: string;
  readonly #input: MappedText;
  readonly #generatorsOf: CheckInput['generatorsOf'];
  readonly #hosted: boolean;
  readonly #found: Violation[] = [];
  /** Names of the module: generator functions of its own and imported ones; names that are certainly no generator functions. */
  readonly #generators = new Set<string>();
  readonly #ordinary = new Set<string>();
  /** Namespaces that are imported, with their generator functions where these are known. */
  readonly #namespaces = new Map<string, ReadonlySet<string> | undefined>();
  readonly #primitiveLike = new Set<string>();
  /** Names that are exported, or whose value is changed: a table of constants under another name is only a way to write them. */
  readonly #shared = new Set<string>();
  /** Every name that the file declares somewhere: `process` may be a parameter. */
  readonly #declared = new Set<string>();

  constructor(file: string, input: MappedText, generatorsOf: CheckInput['generatorsOf'], hosted: boolean) {
    this.#file = file;
    this.#input = input;
    this.#generatorsOf = generatorsOf;
    this.#hosted = hosted;
  }

  #at(node: { start: number }, name: RuleName, sentence: string): void {
    const { line, column } = this.#input.place(node.start) ?? { line: 0, column: 0 };
    if (this.#found.some((v) => v.line === line + 1 && v.column === column + 1 && v.name === name)) return;
    this.#found.push({ file: this.#file, line: line + 1, column: column + 1, name, sentence });
  }

  check(program: Program): Violation[] {
    this.#collect(program);
    for (const node of program.body) {
      const declaration = (node.type === 'ExportNamedDeclaration' || node.type === 'ExportDefaultDeclaration') && node.declaration ? node.declaration : node;
      if (declaration.type === 'FunctionDeclaration' && declaration.generator) this.#function(declaration as FunctionDeclaration);
      else this.#plain(declaration as AnyNode);
    }
    return this.#found;
  }

  #collect(program: Program): void {
    walk(program, (node) => {
      const patterns =
        node.type === 'VariableDeclarator' ? [node.id] : 'params' in node ? node.params : node.type.startsWith('Import') && 'local' in node ? [node.local] : [];
      for (const pattern of patterns) walk(pattern, (at) => void (at.type === 'Identifier' && this.#declared.add(at.name)));
      return undefined;
    });
    walk(program, (node) => {
      const changed = node.type === 'AssignmentExpression' ? node.left : node.type === 'UpdateExpression' ? node.argument : undefined;
      const called =
        node.type === 'CallExpression' && node.callee.type === 'MemberExpression' && CHANGES.has((node.callee.property as Identifier).name)
          ? node.callee
          : undefined;
      for (let at = (changed ?? called) as AnyNode | undefined; at; at = at.type === 'MemberExpression' ? (at.object as AnyNode) : undefined)
        if (at.type === 'Identifier') this.#shared.add(at.name);
      if (node.type === 'ExportSpecifier' && node.local.type === 'Identifier') this.#shared.add(node.local.name);
      if (node.type === 'ExportNamedDeclaration' && node.declaration?.type === 'VariableDeclaration')
        for (const { id } of node.declaration.declarations) if (id.type === 'Identifier') this.#shared.add(id.name);
      return undefined;
    });
    for (const node of program.body) {
      if (node.type === 'ImportDeclaration') {
        const known = this.#generatorsOf?.(String(node.source.value));
        const ops = /(^|\/)ops\.ts$/.test(String(node.source.value));
        for (const one of node.specifiers) {
          if (one.type === 'ImportNamespaceSpecifier') this.#namespaces.set(one.local.name, known);
          else if (known && one.type === 'ImportSpecifier') {
            const name = one.imported.type === 'Identifier' ? one.imported.name : String(one.imported.value);
            (known.has(name) ? this.#generators : this.#ordinary).add(one.local.name);
            if (ops && known.has(name)) this.#primitiveLike.add(one.local.name);
          }
        }
        continue;
      }
      const declaration = node.type === 'ExportNamedDeclaration' ? node.declaration : node;
      if (declaration?.type === 'FunctionDeclaration' && declaration.id) (declaration.generator ? this.#generators : this.#ordinary).add(declaration.id.name);
      if (declaration?.type === 'VariableDeclaration') {
        for (const { id } of declaration.declarations) if (id.type === 'Identifier') this.#ordinary.add(id.name);
      }
    }
  }

  // Outside generator functions.

  #plain(node: AnyNode): void {
    if (this.#hosted) {
      this.#generatorForms(node);
      return;
    }
    if (node.type === 'VariableDeclaration') this.#moduleVariables(node);
    else if (node.type === 'ExpressionStatement' || /^(If|For|While|DoWhile|Switch|Block|Labeled|Try|Throw)/.test(node.type))
      this.#at(node, 'module-state', 'A statement at the top of a file would run once for each program.');
    this.#generatorForms(node);
    walk(node, (at, parent) => {
      this.#anywhere(at, parent);
      if (at.type === 'Identifier' && isReference(at, parent)) this.#generatorName(at, parent, undefined);
      if (at.type === 'CallExpression') this.#uncalled(at, undefined);
      return undefined;
    });
  }

  #generatorForms(node: AnyNode): void {
    walk(node, (at, parent) => {
      if ((at.type === 'FunctionExpression' || at.type === 'FunctionDeclaration') && at.generator)
        this.#at(
          parent?.type === 'Property' || parent?.type === 'MethodDefinition' ? parent : at,
          'generator-form',
          'A generator function is a declaration at the top of its file.',
        );
      return undefined;
    });
  }

  #moduleVariables(node: AnyNode & { type: 'VariableDeclaration' }): void {
    for (const { id, init } of node.declarations) {
      const name = id.type === 'Identifier' ? id.name : 'a pattern';
      if (node.kind !== 'const') this.#at(id, 'module-state', LET_IN);
      else if (init && !isConstant(init as AnyNode) && !(isTable(init as AnyNode) && !this.#shared.has(name)))
        this.#at(
          id,
          'module-state',
          `Each program would have a ${name} of its own: freeze it (Object.freeze), or move it to a file without generator functions.`,
        );
    }
  }

  /** Rules that hold in the whole file. */
  #anywhere(node: AnyNode, parent: AnyNode | undefined): void {
    if (node.type === 'Identifier' && HOST.has(node.name) && isReference(node, parent) && !this.#declared.has(node.name))
      this.#at(node, 'host', `${node.name} depends on the host: kernel code must do the same each time.`);
    if (
      node.type === 'MemberExpression' &&
      !node.computed &&
      node.object.type === 'Identifier' &&
      node.object.name === 'Math' &&
      (node.property as Identifier).name === 'random'
    )
      this.#at(node, 'host', 'Math.random is no operation of a kernel: choices are the scheduler’s.');
    if ((node.type === 'FunctionDeclaration' || node.type === 'FunctionExpression' || node.type === 'ArrowFunctionExpression') && node.async)
      this.#at(node, 'async', 'Kernel code waits in primitives only: use yield*.');
    if (node.type === 'AwaitExpression') this.#at(node, 'async', 'Kernel code waits in primitives only: use yield*.');
    if ((node.type === 'Property' || node.type === 'MethodDefinition') && (node.kind === 'get' || node.kind === 'set'))
      this.#at(node, 'accessor', 'Reading a property must not run code: make it a function.');
    if (node.type === 'Identifier' && node.name.includes('$') && isReference(node, parent))
      this.#at(node, 'scope', `${node.name}: names with $ are the compiler’s.`);
  }

  /** A name that stands where it does: generator functions are called with yield*, nothing else. */
  #generatorName(node: Identifier, parent: AnyNode | undefined, names: Names | undefined): void {
    if (names?.variableOf(node) || !this.#generators.has(node.name)) return;
    if (parent?.type === 'ExportSpecifier' || parent?.type === 'ImportSpecifier' || (parent?.type === 'FunctionDeclaration' && parent.id === node)) return;
    if (parent?.type === 'CallExpression' && parent.callee === node) return;
    this.#at(node, 'generator-value', `${node.name} is a generator function: it can only be called with yield*.`);
  }

  // Inside.

  #function(fn: FunctionDeclaration): void {
    const before = this.#found.length;
    for (const param of fn.params) if (param.type !== 'Identifier') this.#refuse(param as AnyNode);
    let names: Names | undefined;
    const delegated = new Set<AnyNode>();
    const closed = new Set<AnyNode>();
    walk(fn.body, (node, parent) => {
      this.#anywhere(node, parent);
      const closure = node.type === 'FunctionDeclaration' || node.type === 'FunctionExpression' || node.type === 'ArrowFunctionExpression';
      if (!ALLOWED.has(node.type)) {
        const method = parent?.type === 'Property' || parent?.type === 'MethodDefinition';
        if (!(closure && method)) this.#refuse(node);
        // What is inside a refused object or function says nothing of its own.
        if (/^(Try|ForIn|ForOf)Statement|^ChainExpression/.test(node.type)) return undefined;
        closed.add(node);
        return false;
      }
      return undefined;
    });
    if (fn.async) this.#at(fn, 'async', 'Kernel code waits in primitives only: use yield*.');
    // Names are resolved only where there are no patterns and inner functions.
    if (this.#found.length === before) names = namesOf(fn);
    walk(fn.body, (node, parent) => {
      if (closed.has(node)) return false;
      if (node.type === 'YieldExpression' && node.argument) {
        // Where it is followed by something else, that is what is wrong, not the calls therein.
        if (node.argument.type === 'CallExpression') delegated.add(node.argument);
        else walk(node.argument, (at) => void delegated.add(at));
      }
      this.#inside(node, parent, names, delegated);
      return undefined;
    });
  }

  #refuse(node: AnyNode): void {
    const [name, sentence] = REFUSED[node.type] ?? ['statement', `${node.type} is not in the dialect.`];
    this.#at(node.type === 'RestElement' ? node.argument : node, name, sentence);
  }

  #inside(node: AnyNode, parent: AnyNode | undefined, names: Names | undefined, delegated: ReadonlySet<AnyNode>): void {
    switch (node.type) {
      case 'VariableDeclaration':
        if (node.kind === 'var') this.#at(node, 'statement', 'var has no block: use let or const.');
        break;
      case 'Literal':
        this.#literal(node);
        break;
      case 'Identifier':
        if (!isReference(node, parent)) break;
        if (node.name === 'undefined' || node.name === 'NaN') this.#at(node, 'not-a-number', `${node.name} is no number.`);
        else if (node.name === 'arguments') this.#at(node, 'receiver', 'A kernel function has no arguments object.');
        else this.#generatorName(node, parent, names);
        break;
      case 'UnaryExpression':
        // esbuild writes undefined as void 0.
        if (node.operator === 'void' && node.argument.type === 'Literal') this.#at(node, 'not-a-number', 'undefined is no number.');
        else if (['typeof', 'void', 'delete'].includes(node.operator)) this.#at(node, 'operator', `${node.operator} is not for numbers.`);
        break;
      case 'BinaryExpression':
        if (node.operator === 'in' || node.operator === 'instanceof') this.#at(node, 'operator', `${node.operator} is not for numbers.`);
        if (CONDITION_OPERATORS.has(node.operator) && [node.left, node.right].some((side) => side.type === 'Literal' && typeof side.value === 'boolean'))
          this.#at(node, 'operator', 'A boolean that waited in a frame is 0 or 1: write the condition itself.');
        break;
      case 'LogicalExpression':
        if (node.operator === '??') this.#at(node, 'operator', 'Numbers are never undefined: ?? has nothing to do.');
        break;
      case 'AssignmentExpression':
        this.#assignment(node, names);
        break;
      case 'UpdateExpression':
        if (node.argument.type === 'Identifier' && names && !names.variableOf(node.argument)) this.#at(node, 'module-state', LET_IN);
        break;
      case 'MemberExpression':
        this.#member(node, names);
        break;
      case 'CallExpression':
        this.#call(node, names, delegated);
        break;
      case 'YieldExpression':
        this.#yield(node, names);
        break;
      case 'ThrowStatement':
        if (hasYield(node)) this.#at(node, 'statement', 'throw cannot wait: call first.');
        break;
    }
  }

  #literal(node: AnyNode & { type: 'Literal' }): void {
    const { value } = node;
    if (typeof value === 'number' || typeof value === 'boolean') return;
    if (typeof value === 'string') this.#at(node, 'text', 'A text cannot lie in a frame: make it in a plain function.');
    else if (value === null && node.raw === 'null') this.#at(node, 'not-a-number', 'null is no number: 0 is the reference to nothing.');
    else this.#at(node, 'not-a-number', `${node.raw} is no number.`);
  }

  #assignment(node: AnyNode & { type: 'AssignmentExpression' }, names: Names | undefined): void {
    if (node.operator === '??=') this.#at(node, 'operator', 'Numbers are never undefined: ??= has nothing to do.');
    if (node.left.type === 'Identifier' && names && !names.variableOf(node.left)) this.#at(node.left, 'module-state', LET_IN);
  }

  #member(node: MemberExpression, names: Names | undefined): void {
    if (names?.variableOf(node.object as AnyNode)) {
      this.#at(node, 'member', `${(node.object as Identifier).name} is a number and has no properties.`);
      return;
    }
    if (hasYield(node.object)) this.#at(node.object, 'member', 'What yield* gives is a number and has no properties.');
    else if (hasYield(node) && !isPath(node.object as AnyNode)) this.#at(node.object, 'member', 'An array that is used around a yield* is named by a module.');
  }

  #call(node: CallExpression, names: Names | undefined, delegated: ReadonlySet<AnyNode>): void {
    const callee = node.callee as AnyNode;
    if (names?.variableOf(callee)) this.#at(callee, 'not-a-number', `${(callee as Identifier).name} is a local, and locals are numbers.`);
    if (delegated.has(node)) return;
    this.#uncalled(node, names);
    if (hasYield(node) && !isPath(callee)) this.#at(callee, 'member', 'A function that is called around a yield* is named by a module.');
  }

  /** A call without yield*. */
  #uncalled(node: CallExpression, names: Names | undefined): void {
    const callee = node.callee as AnyNode;
    if (this.#isGenerator(callee, names) !== true) return;
    this.#at(node, 'generator-call', `${this.#input.text.slice(callee.start, callee.end)} is a generator function: call it with yield*.`);
  }

  /** Whether a callee is a generator function; undefined when nobody knows. */
  #isGenerator(callee: AnyNode, names: Names | undefined): boolean | undefined {
    if (callee.type === 'Identifier') {
      if (names?.variableOf(callee) || this.#ordinary.has(callee.name)) return false;
      return this.#generators.has(callee.name) ? true : undefined;
    }
    if (callee.type !== 'MemberExpression' || callee.object.type !== 'Identifier' || callee.computed || !this.#namespaces.has(callee.object.name)) return false;
    return this.#namespaces.get(callee.object.name)?.has((callee.property as Identifier).name);
  }

  #yield(node: AnyNode & { type: 'YieldExpression' }, names: Names | undefined): void {
    if (!node.delegate) return;
    const call = node.argument as AnyNode;
    if (call.type !== 'CallExpression') {
      this.#at(node, 'yield-operand', 'yield* is followed by a call; parentheses keep operators outside.');
      return;
    }
    const name = this.#input.text.slice(call.callee.start, call.callee.end);
    if (this.#isGenerator(call.callee as AnyNode, names) === false)
      this.#at(node, 'yield-operand', `${name} is no generator function: call it without yield*.`);
    if (this.#primitiveLike.has(name) && call.arguments.length > 4) this.#at(node, 'yield-operand', `${name} is a primitive and has at most four arguments.`);
  }
}

/** A name, or plain properties of one. */
function isPath(node: AnyNode): boolean {
  return node.type === 'Identifier' || (node.type === 'MemberExpression' && !node.computed && isPath(node.object as AnyNode));
}

/** A literal array or object of constants that is not empty. */
function isTable(node: AnyNode): boolean {
  const entry = (value: AnyNode): boolean => isConstant(value) || isTable(value);
  if (node.type === 'ArrayExpression') return node.elements.length > 0 && node.elements.every((value) => value !== null && entry(value as AnyNode));
  if (node.type !== 'ObjectExpression') return false;
  return node.properties.length > 0 && node.properties.every((one) => one.type === 'Property' && one.kind === 'init' && entry(one.value as AnyNode));
}

/** Whether a module-level constant is the same in every program: numbers, texts, functions, frozen tables, and what is computed from them. */
function isConstant(node: AnyNode): boolean {
  switch (node.type) {
    case 'Literal':
    case 'TemplateLiteral':
    case 'Identifier':
    case 'ArrowFunctionExpression':
    case 'FunctionExpression':
      return true;
    case 'MemberExpression':
      return isPath(node);
    case 'UnaryExpression':
      return isConstant(node.argument);
    case 'BinaryExpression':
    case 'LogicalExpression':
      return isConstant(node.left as AnyNode) && isConstant(node.right);
    case 'ConditionalExpression':
      return [node.test, node.consequent, node.alternate].every((part) => isConstant(part as AnyNode));
    case 'CallExpression': {
      const text = node.callee.type === 'MemberExpression' && node.callee.object.type === 'Identifier' ? node.callee.object.name : '';
      return text === 'Math' || (text === 'Object' && (node.callee as MemberExpression & { property: Identifier }).property.name === 'freeze');
    }
    default:
      return false;
  }
}
