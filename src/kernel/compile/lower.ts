/**
 * A kernel function as basic blocks. What has no `yield` is copied whole (text.ts); what has one is taken apart, in the order in which JavaScript
 * evaluates it: an operand that was computed before a `yield` and is used after it becomes a temporary, unless it cannot change in between.
 *
 * Taken as unable to change: literals, locals that no later operand assigns, and names of modules with their plain properties (`Vma.start`, the array
 * `words` itself). Elements of arrays are read where they stand.
 */
import type {
  AnyNode,
  AssignmentExpression,
  BreakStatement,
  CallExpression,
  ConditionalExpression,
  ContinueStatement,
  Expression,
  FunctionDeclaration,
  IfStatement,
  LogicalExpression,
  MemberExpression,
  Statement,
  SwitchStatement,
  VariableDeclaration,
  YieldExpression,
} from 'acorn';
import { hasYield } from './ast.ts';
import { type Block, type Code, type End, type Graph, join, number, ofVariable, plain } from './blocks.ts';
import { assigns, mentions, type Names, type Variable } from './scope.ts';
import type { MappedText } from './source-map.ts';
import { Copier, comparable, kindOfBinary } from './text.ts';

/** How the function that a name means is reached in the step program. */
export type CalleeOf = (name: string) => { readonly kind: 'call' | 'primitive'; readonly text: string; readonly effect?: string };

/** Statements that a label before them names as a whole; before others it makes a block. */
const TAKES_LABELS = new Set(['BlockStatement', 'ForStatement', 'WhileStatement', 'DoWhileStatement', 'SwitchStatement', 'LabeledStatement']);

/** A statement that `break` or `continue` may mean. */
interface Enclosing {
  readonly labels: readonly string[];
  readonly breakTo: Block;
  readonly continueTo: Block | undefined;
  /** Whether `break` without a label means it. */
  readonly breakable: boolean;
}

/** A module's name, or plain properties of one: cannot change. */
function isPath(node: AnyNode, names: Names): boolean {
  if (node.type === 'Identifier') return names.variableOf(node) === undefined;
  return node.type === 'MemberExpression' && !node.computed && isPath(node.object, names);
}

/** `reads`: the name of the function that reads fields, when reads are to stand where they are meant. */
export function lower(fn: FunctionDeclaration, names: Names, input: MappedText, calleeOf: CalleeOf, reads?: string): Graph {
  return new Lowering(names, input, calleeOf, reads).run(fn);
}

class Lowering {
  readonly #names: Names;
  readonly #input: MappedText;
  readonly #calleeOf: CalleeOf;
  readonly #copier: Copier;
  readonly #placed: Block[] = [];
  readonly #enclosing: Enclosing[] = [];
  #numbers = 0;
  #current: Block;

  constructor(names: Names, input: MappedText, calleeOf: CalleeOf, reads: string | undefined) {
    this.#names = names;
    this.#input = input;
    this.#calleeOf = calleeOf;
    this.#copier = new Copier(input, names, (node) => this.#targetOf(node), reads);
    this.#current = this.#place(this.#newBlock());
    // Number 1 is where a task begins that was started from outside: it finds its parameters in the frame.
    this.#numbers++;
  }

  run(fn: FunctionDeclaration): Graph {
    for (const param of this.#names.params) param.hoisted = true;
    for (const statement of fn.body.body) this.#statement(statement, []);
    this.#finish({ kind: 'return', value: undefined });
    return { blocks: this.#placed, numbers: this.#numbers };
  }

  // Blocks.

  #newBlock(): Block {
    return { id: this.#numbers++, instructions: [], end: undefined, stub: -1 };
  }

  /** The block's text follows here. */
  #place(block: Block): Block {
    this.#placed.push(block);
    this.#current = block;
    return block;
  }

  #finish(end: End): void {
    this.#current.end ??= end;
  }

  /** Ends the current block here and goes on in `block`. */
  #flowInto(block: Block): void {
    this.#finish({ kind: 'jump', to: block });
    this.#place(block);
  }

  #emit(code: Code, kills: readonly Variable[] = []): void {
    // Behind a jump nothing is reached.
    if (this.#current.end === undefined) this.#current.instructions.push({ code, kills });
  }

  #assign(variable: Variable, value: Code, at: number): void {
    this.#emit(join('unknown', [this.#input.mark(at), `${variable.name} = `, number(value), ';']), [variable]);
  }

  #targetOf(node: BreakStatement | ContinueStatement): Block {
    for (let i = this.#enclosing.length - 1; i >= 0; i--) {
      const { labels, breakTo, continueTo, breakable } = this.#enclosing[i];
      const meant = node.label ? labels.includes(node.label.name) : node.type === 'BreakStatement' ? breakable : continueTo !== undefined;
      if (!meant) continue;
      const to = node.type === 'BreakStatement' ? breakTo : continueTo;
      if (to) return to;
    }
    throw new Error('a jump without a target');
  }

  #inside(enclosing: Enclosing, run: () => void): void {
    this.#enclosing.push(enclosing);
    run();
    this.#enclosing.pop();
  }

  // Statements.

  #statement(node: Statement | VariableDeclaration, labels: readonly string[]): void {
    switch (node.type) {
      case 'VariableDeclaration':
        this.#declaration(node);
        break;
      case 'ExpressionStatement':
        this.#effect(node.expression);
        break;
      case 'ReturnStatement': {
        const value = node.argument ? number(this.#value(node.argument)) : undefined;
        this.#finish({ kind: 'return', value: value && join('number', [this.#input.mark(node.start), value]) });
        break;
      }
      case 'BreakStatement':
      case 'ContinueStatement':
        this.#finish({ kind: 'jump', to: this.#targetOf(node) });
        break;
      case 'EmptyStatement':
        break;
      default:
        if (hasYield(node)) this.#structured(node, labels);
        else this.#emit(this.#copier.copy(node));
    }
  }

  /** A statement that has statements inside, and a `yield` somewhere. */
  #structured(node: Statement, labels: readonly string[]): void {
    switch (node.type) {
      case 'BlockStatement':
        if (labels.length > 0) this.#labelled(labels, node.body);
        else for (const statement of node.body) this.#statement(statement, []);
        break;
      case 'LabeledStatement': {
        const all = [...labels, node.label.name];
        if (TAKES_LABELS.has(node.body.type)) this.#statement(node.body, all);
        else this.#labelled(all, [node.body]);
        break;
      }
      case 'IfStatement':
        this.#if(node);
        break;
      case 'WhileStatement':
        this.#loop(labels, node.test, undefined, node.body, false);
        break;
      case 'DoWhileStatement':
        this.#loop(labels, node.test, undefined, node.body, true);
        break;
      case 'ForStatement':
        if (node.init?.type === 'VariableDeclaration') this.#declaration(node.init);
        else if (node.init) this.#effect(node.init);
        this.#loop(labels, node.test ?? undefined, node.update ?? undefined, node.body, false);
        break;
      case 'SwitchStatement':
        this.#switch(node, labels);
        break;
      default:
        throw new Error(`${node.type} is not of the dialect`);
    }
  }

  /** Statements that `break label` leaves. */
  #labelled(labels: readonly string[], body: readonly Statement[]): void {
    const end = this.#newBlock();
    this.#inside({ labels, breakTo: end, continueTo: undefined, breakable: false }, () => {
      for (const statement of body) this.#statement(statement, []);
    });
    this.#flowInto(end);
  }

  #if(node: IfStatement): void {
    const yes = this.#newBlock();
    const end = this.#newBlock();
    const no = node.alternate ? this.#newBlock() : end;
    this.#condition(node.test, yes, no);
    this.#place(yes);
    this.#statement(node.consequent, []);
    if (node.alternate) {
      this.#finish({ kind: 'jump', to: end });
      this.#place(no);
      this.#statement(node.alternate, []);
    }
    this.#flowInto(end);
  }

  #declaration(node: VariableDeclaration): void {
    for (const { id, init, start } of node.declarations) {
      const variable = this.#names.variableOf(id);
      if (variable === undefined) throw new Error('a declaration without a variable');
      variable.hoisted = true;
      if (init) this.#into(init, variable);
      else this.#assign(variable, plain('0', 'number'), start);
    }
  }

  #loop(labels: readonly string[], test: Expression | undefined, update: Expression | undefined, body: Statement, bodyFirst: boolean): void {
    const start = this.#newBlock();
    const again = this.#newBlock();
    const end = this.#newBlock();
    const decide = (): void => (test ? this.#condition(test, start, end) : this.#finish({ kind: 'jump', to: start }));
    if (bodyFirst) {
      this.#flowInto(start);
      this.#inside({ labels, breakTo: end, continueTo: again, breakable: true }, () => this.#statement(body, []));
      this.#flowInto(again);
      decide();
    } else {
      const head = this.#newBlock();
      this.#flowInto(head);
      decide();
      this.#place(start);
      this.#inside({ labels, breakTo: end, continueTo: again, breakable: true }, () => this.#statement(body, []));
      this.#flowInto(again);
      if (update) this.#effect(update);
      this.#finish({ kind: 'jump', to: head });
    }
    this.#place(end);
  }

  #switch(node: SwitchStatement, labels: readonly string[]): void {
    const end = this.#newBlock();
    const bodies = node.cases.map(() => this.#newBlock());
    const standard = node.cases.findIndex(({ test }) => !test);
    const otherwise = standard < 0 ? end : bodies[standard];
    if (node.cases.some(({ test }) => hasYield(test))) {
      // Cases are tried one after the other, each of them evaluated only then.
      const value = this.#names.temporary();
      this.#into(node.discriminant, value);
      node.cases.forEach(({ test }, i) => {
        if (!test) return;
        const next = this.#newBlock();
        const looked = number(this.#value(test));
        this.#finish({ kind: 'branch', test: join('boolean', [ofVariable(value), ' === ', looked]), yes: bodies[i], no: next });
        this.#place(next);
      });
      this.#finish({ kind: 'jump', to: otherwise });
    } else {
      const on = this.#value(node.discriminant);
      const cases = node.cases.flatMap(({ test }, i) => (test ? [{ test: this.#copier.copy(test), to: bodies[i] }] : []));
      this.#finish({ kind: 'switch', on: on.kind === 'boolean' ? number(on) : on, cases, otherwise });
    }
    this.#inside({ labels, breakTo: end, continueTo: undefined, breakable: true }, () => {
      node.cases.forEach(({ consequent }, i) => {
        if (i === 0) this.#place(bodies[0]);
        else this.#flowInto(bodies[i]);
        for (const statement of consequent) this.#statement(statement, []);
      });
    });
    this.#flowInto(end);
  }

  // Expressions.

  /** Jumps by the truth of an expression. */
  #condition(node: Expression, yes: Block, no: Block): void {
    if (hasYield(node)) {
      if (node.type === 'LogicalExpression') {
        const right = this.#newBlock();
        if (node.operator === '&&') this.#condition(node.left, right, no);
        else this.#condition(node.left, yes, right);
        this.#place(right);
        this.#condition(node.right, yes, no);
        return;
      }
      if (node.type === 'UnaryExpression' && node.operator === '!') {
        this.#condition(node.argument, no, yes);
        return;
      }
    }
    this.#finish({ kind: 'branch', test: this.#value(node), yes, no });
  }

  /** Evaluates for what it does alone. */
  #effect(node: Expression): void {
    const assigned = node.type === 'AssignmentExpression' && node.operator === '=' ? this.#names.variableOf(node.left) : undefined;
    if (assigned) this.#into((node as AssignmentExpression).right, assigned);
    else if (!hasYield(node)) this.#emit(join('unknown', [this.#copier.copy(node), ';']));
    else if (node.type === 'YieldExpression') this.#call(node, undefined);
    else if (node.type === 'SequenceExpression') for (const one of node.expressions) this.#effect(one);
    else if (node.type === 'LogicalExpression' || node.type === 'ConditionalExpression') this.#choice(node);
    else if (node.type === 'AssignmentExpression') this.#assignment(node);
    else this.#emit(join('unknown', [this.#value(node), ';']));
  }

  /** `a && b`, `a || b`, `a ? b : c` for what they do. */
  #choice(node: LogicalExpression | ConditionalExpression): void {
    const end = this.#newBlock();
    const branch = (block: Block, body: Expression): void => {
      this.#place(block);
      this.#effect(body);
      this.#finish({ kind: 'jump', to: end });
    };
    const yes = this.#newBlock();
    if (node.type === 'ConditionalExpression') {
      const no = this.#newBlock();
      this.#condition(node.test, yes, no);
      branch(yes, node.consequent);
      branch(no, node.alternate);
    } else {
      if (node.operator === '&&') this.#condition(node.left, yes, end);
      else this.#condition(node.left, end, yes);
      branch(yes, node.right);
    }
    this.#place(end);
  }

  /** Evaluates into a variable. */
  #into(node: Expression, variable: Variable): void {
    // What is written early must not be what a later part reads.
    const early = hasYield(node) && !mentions(node, variable, this.#names);
    if (node.type === 'YieldExpression') this.#call(node, variable);
    else if (early && node.type === 'LogicalExpression') this.#logical(node, variable);
    else if (early && node.type === 'ConditionalExpression') this.#conditional(node, variable);
    else this.#assign(variable, this.#value(node), node.start);
  }

  /** Text that, evaluated next, gives the expression's value. */
  #value(node: Expression): Code {
    if (!hasYield(node)) return this.#copier.operand(node);
    switch (node.type) {
      case 'YieldExpression': {
        const result = this.#names.temporary();
        this.#call(node, result);
        return ofVariable(result);
      }
      case 'BinaryExpression': {
        const operands = this.#operands([node.left as Expression, node.right]);
        const [left, right] = comparable(node, operands[0], operands[1]);
        return join(kindOfBinary(node.operator), ['(', left, ` ${node.operator} `, right, ')']);
      }
      case 'UnaryExpression':
        return join(node.operator === '!' ? 'boolean' : 'number', [`(${node.operator} `, this.#value(node.argument), ')']);
      case 'LogicalExpression': {
        const result = this.#names.temporary();
        this.#logical(node, result);
        return ofVariable(result);
      }
      case 'ConditionalExpression': {
        const result = this.#names.temporary();
        this.#conditional(node, result);
        return ofVariable(result);
      }
      case 'SequenceExpression': {
        for (const one of node.expressions.slice(0, -1)) this.#effect(one);
        return this.#value(node.expressions[node.expressions.length - 1]);
      }
      case 'AssignmentExpression':
        return this.#assignment(node);
      case 'UpdateExpression': {
        const element = this.#element(node.argument as MemberExpression, []);
        return join('number', node.prefix ? ['(', node.operator, element.place, ')'] : ['(', element.place, node.operator, ')']);
      }
      case 'MemberExpression':
        return this.#element(node, []).place;
      case 'CallExpression': {
        const callee = this.#copier.copy(node.callee as Expression);
        const args = this.#operands(node.arguments as Expression[]);
        return join('unknown', [this.#input.mark(node.start), callee, '(', ...args.flatMap((arg, i) => (i > 0 ? [', ', arg] : [arg])), ')']);
      }
      default:
        throw new Error(`${node.type} is not of the dialect`);
    }
  }

  /**
   * Operands that are evaluated one after the other and used together afterwards. Those before the last `yield` are put aside unless they cannot
   * change.
   */
  #operands(nodes: readonly Expression[]): Code[] {
    let last = -1;
    nodes.forEach((node, i) => {
      if (hasYield(node)) last = i;
    });
    return nodes.map((node, i) => {
      const code = this.#value(node);
      if (i >= last || this.#stays(node, nodes.slice(i + 1, last + 1))) return code;
      const saved = this.#names.temporary();
      this.#assign(saved, code, node.start);
      return ofVariable(saved);
    });
  }

  /** Whether an operand's text means the same after `later` was evaluated. */
  #stays(node: Expression, later: readonly Expression[]): boolean {
    if (node.type === 'Literal' || isPath(node, this.#names)) return true;
    const variable = this.#names.variableOf(node);
    return variable !== undefined && !later.some((one) => assigns(one, variable, this.#names));
  }

  /** An element of an array, and values that are computed after its index and before it is touched. */
  #element(node: MemberExpression, values: readonly Expression[]): { place: Code; values: Code[] } {
    const object = this.#copier.copy(node.object as Expression);
    if (!node.computed) return { place: join('unknown', [object, '.', plain((node.property as { name: string }).name)]), values: this.#operands(values) };
    const [index, ...rest] = this.#operands([node.property as Expression, ...values]);
    return { place: join('unknown', [object, '[', index, ']']), values: rest };
  }

  /** An assignment with a `yield` in it; text that gives the value assigned. */
  #assignment(node: AssignmentExpression): Code {
    const { left, right, operator, start } = node;
    const variable = this.#names.variableOf(left);
    const binary = operator.slice(0, -1);
    if (operator === '&&=' || operator === '||=') return this.#logicalAssignment(node, variable);
    if (variable) {
      if (operator === '=') this.#into(right, variable);
      else {
        const [old, value] = this.#operands([left as Expression, right]);
        this.#assign(variable, join('number', [old, ` ${binary} `, value]), start);
      }
      return ofVariable(variable);
    }
    const result = this.#names.temporary();
    if (operator === '=') {
      const { place, values } = this.#element(left as MemberExpression, [right]);
      // One text, so that the index is evaluated before the value.
      this.#emit(join('unknown', [this.#input.mark(start), place, ` = ${result.name} = `, number(values[0]), ';']), [result]);
      return ofVariable(result);
    }
    // The old element is read before the right side is evaluated.
    const { place } = this.#fixed(left as MemberExpression, right);
    const old = this.#names.temporary();
    this.#assign(old, place, start);
    this.#assign(result, join('number', [ofVariable(old), ` ${binary} `, this.#value(right)]), start);
    this.#emit(join('unknown', [this.#input.mark(start), place, ' = ', ofVariable(result), ';']));
    return ofVariable(result);
  }

  /** An element whose index is put aside, so that it is the same element before and after `later`. */
  #fixed(node: MemberExpression, later: Expression): { place: Code } {
    const object = this.#copier.copy(node.object as Expression);
    if (!node.computed) return { place: join('unknown', [object, '.', plain((node.property as { name: string }).name)]) };
    const property = node.property as Expression;
    let index = this.#value(property);
    if (!this.#stays(property, [later])) {
      const saved = this.#names.temporary();
      this.#assign(saved, index, node.start);
      index = ofVariable(saved);
    }
    return { place: join('unknown', [object, '[', index, ']']) };
  }

  #logicalAssignment(node: AssignmentExpression, variable: Variable | undefined): Code {
    const place = variable ? ofVariable(variable) : this.#fixed(node.left as MemberExpression, node.right).place;
    const result = this.#names.temporary();
    const set = this.#newBlock();
    const end = this.#newBlock();
    this.#assign(result, place, node.start);
    this.#finish({ kind: 'branch', test: ofVariable(result), yes: node.operator === '&&=' ? set : end, no: node.operator === '&&=' ? end : set });
    this.#place(set);
    this.#into(node.right, result);
    if (variable) this.#assign(variable, ofVariable(result), node.start);
    else this.#emit(join('unknown', [place, ' = ', ofVariable(result), ';']));
    this.#flowInto(end);
    return ofVariable(result);
  }

  #logical(node: LogicalExpression, result: Variable): void {
    const right = this.#newBlock();
    const end = this.#newBlock();
    this.#into(node.left, result);
    this.#finish({ kind: 'branch', test: ofVariable(result), yes: node.operator === '&&' ? right : end, no: node.operator === '&&' ? end : right });
    this.#place(right);
    this.#into(node.right, result);
    this.#flowInto(end);
  }

  #conditional(node: ConditionalExpression, result: Variable): void {
    const yes = this.#newBlock();
    const no = this.#newBlock();
    const end = this.#newBlock();
    this.#condition(node.test, yes, no);
    this.#place(yes);
    this.#into(node.consequent, result);
    this.#finish({ kind: 'jump', to: end });
    this.#place(no);
    this.#into(node.alternate, result);
    this.#flowInto(end);
  }

  /** A call that the task may wait in; its result into a variable. */
  #call(node: YieldExpression, result: Variable | undefined): void {
    const call = node.argument as CallExpression;
    const { kind, text, effect } = this.#calleeOf(this.#input.text.slice(call.callee.start, call.callee.end));
    const args = this.#operands(call.arguments as Expression[]).map(number);
    const next = this.#newBlock();
    next.stub = this.#numbers++;
    this.#finish({ kind, callee: text, effect, args, next, at: call.start });
    this.#place(next);
    if (result) next.instructions.push({ code: plain(`${result.name} = $T.rv;`), kills: [result], takes: result });
  }
}
