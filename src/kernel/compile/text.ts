/**
 * Code without `yield`, copied: names of variables replaced, booleans made numbers where they are stored, jumps that leave the copied piece made jumps
 * between blocks. Everything else stays as it stands in the source.
 *
 * Numbers only wait in frames, so a stored boolean is 0 or 1. That must not show: where `===` may compare a stored boolean with one that was just
 * computed, both sides are made numbers.
 */
import type { AnyNode, BinaryExpression, BreakStatement, CallExpression, ContinueStatement, Expression, ReturnStatement } from 'acorn';
import { childrenOf } from './ast.ts';
import { type Block, type Code, exitTo, join, type Kind, number, ofVariable, plain, RETURN, RETURNED } from './blocks.ts';
import type { Names } from './scope.ts';
import type { MappedText } from './source-map.ts';

/** Finds the block that a jump out of a copied piece leads to. */
export type JumpTarget = (node: BreakStatement | ContinueStatement) => Block;

const EQUALITY = new Set(['===', '!==', '==', '!=']);
const COMPARISON = new Set(['<', '<=', '>', '>=']);

export const isEquality = (operator: string): boolean => EQUALITY.has(operator);

/** Kind of the value of `left operator right`. */
export const kindOfBinary = (operator: string): Kind => (EQUALITY.has(operator) || COMPARISON.has(operator) ? 'boolean' : 'number');

/** Kind of `&&`, `||` and `?:` by their parts. */
export const kindOfEither = (a: Kind, b: Kind): Kind => (a === b ? a : 'unknown');

/** Sides of an equality, so that a stored boolean equals a computed one, also where either side may be both. */
export function comparable(node: BinaryExpression, left: Code, right: Code): [Code, Code] {
  const literal = [node.left, node.right].some((side) => side.type === 'Literal' && typeof side.value === 'number');
  if (!isEquality(node.operator) || literal || (left.kind === right.kind && left.kind !== 'unknown')) return [left, right];
  return [number(left), number(right)];
}

export class Copier {
  readonly #input: MappedText;
  readonly #names: Names;
  readonly #target: JumpTarget;
  /** Loops, switches and labels that were entered since the copied piece began. */
  readonly #inside: { readonly kind: 'loop' | 'switch' | 'block'; readonly label: string | undefined }[] = [];

  readonly #reads: string | undefined;

  constructor(input: MappedText, names: Names, target: JumpTarget, reads?: string) {
    this.#reads = reads;
    this.#input = input;
    this.#names = names;
    this.#target = target;
  }

  /** Text of an expression or statement without `yield`. */
  copy(node: AnyNode): Code {
    switch (node.type) {
      case 'Identifier': {
        const variable = this.#names.variableOf(node);
        if (variable === undefined) return plain(this.#input.slice(node.start, node.end));
        const mark = this.#input.mark(node.start);
        return join('number', [mark, variable.hoisted ? ofVariable(variable) : variable.name]);
      }
      case 'Literal':
        return plain(
          this.#input.slice(node.start, node.end),
          typeof node.value === 'number' ? 'number' : typeof node.value === 'boolean' ? 'boolean' : 'unknown',
        );
      case 'BinaryExpression':
        return this.#binary(node);
      case 'CallExpression':
        return this.#isRead(node) ? this.#read(node) : this.#parts(node).code;
      case 'LogicalExpression': {
        const parts = this.#parts(node);
        return { ...parts.code, kind: kindOfEither(parts.kinds[0], parts.kinds[1]) };
      }
      case 'ConditionalExpression': {
        const parts = this.#parts(node);
        return { ...parts.code, kind: kindOfEither(parts.kinds[1], parts.kinds[2]) };
      }
      case 'SequenceExpression': {
        const parts = this.#parts(node);
        return { ...parts.code, kind: parts.kinds[parts.kinds.length - 1] };
      }
      case 'UnaryExpression':
        return { ...this.#parts(node).code, kind: node.operator === '!' ? 'boolean' : 'number' };
      case 'UpdateExpression':
        return this.#written({ ...this.#parts(node).code, kind: 'number' }, node.argument);
      case 'AssignmentExpression':
        return this.#assignment(node.left, node.operator, node.right, node);
      case 'VariableDeclarator': {
        const variable = this.#names.variableOf(node.id);
        if (variable === undefined) throw new Error('a declaration without a variable');
        const value = node.init ? number(this.operand(node.init)) : plain('0');
        return join('unknown', [this.#input.mark(node.start), variable.name, ' = ', value]);
      }
      case 'ReturnStatement':
        return this.returns(node);
      case 'BreakStatement':
      case 'ContinueStatement':
        return this.#jump(node);
      case 'LabeledStatement': {
        const { type } = node.body;
        const loop = type === 'ForStatement' || type === 'WhileStatement' || type === 'DoWhileStatement';
        return this.#within(loop ? 'loop' : type === 'SwitchStatement' ? 'switch' : 'block', node.label.name, () => this.#parts(node).code);
      }
      case 'ForStatement':
      case 'WhileStatement':
      case 'DoWhileStatement':
        return this.#within('loop', undefined, () => this.#parts(node).code);
      case 'SwitchStatement':
        return this.#within('switch', undefined, () => this.#switch(node.discriminant, node));
      default:
        return this.#parts(node).code;
    }
  }

  /** Text of an expression that may stand anywhere: its own parentheses are not part of it. */
  operand(node: Expression): Code {
    const code = this.copy(node);
    return node.type === 'Identifier' || node.type === 'Literal' ? code : join(code.kind, ['(', code, ')']);
  }

  /** The sequence that leaves the function. */
  returns(node: ReturnStatement): Code {
    const value = node.argument ? number(this.operand(node.argument)) : plain('0', 'number');
    return join('unknown', [this.#input.mark(node.start), `{ ${RETURN}`, value, `${RETURNED} }`]);
  }

  #within(kind: 'loop' | 'switch' | 'block', label: string | undefined, run: () => Code): Code {
    this.#inside.push({ kind, label });
    const code = run();
    this.#inside.pop();
    return code;
  }

  #jump(node: BreakStatement | ContinueStatement): Code {
    const stays = this.#inside.some(({ kind, label }) => {
      if (node.label) return label === node.label.name;
      return kind === 'loop' || (kind === 'switch' && node.type === 'BreakStatement');
    });
    if (stays) return plain(this.#input.slice(node.start, node.end));
    const block = this.#target(node);
    return { ...plain(`${this.#input.mark(node.start)}${exitTo(block)}`), exits: new Set([block]) };
  }

  /** `get(ref, field)` with operands that may stand twice. */
  #isRead(node: AnyNode): node is CallExpression {
    if (node.type !== 'CallExpression' || node.callee.type !== 'Identifier' || node.callee.name !== this.#reads || this.#names.variableOf(node.callee))
      return false;
    const [ref, field] = node.arguments;
    if (field === undefined || (ref.type !== 'Identifier' && !this.#isRead(ref))) return false;
    return field.type === 'Literal' || (field.type === 'MemberExpression' && !field.computed && field.object.type === 'Identifier');
  }

  /** The read itself where nothing is checked: engines stop taking functions into large ones. */
  #read(node: CallExpression): Code {
    const [ref, field] = node.arguments.map((one) => this.copy(one));
    return join('unknown', ['($checking ? ', this.#parts(node).code, ' : $heap[', ref, ' + ', field, '])']);
  }

  #binary(node: BinaryExpression): Code {
    const [left, right] = comparable(node, this.copy(node.left as Expression), this.copy(node.right));
    const between = (from: number, to: number): string => this.#input.slice(from, to);
    const code = [between(node.start, node.left.start), left, between(node.left.end, node.right.start), right, between(node.right.end, node.end)];
    return join(kindOfBinary(node.operator), code);
  }

  #assignment(left: AnyNode, operator: string, right: Expression, node: AnyNode): Code {
    const variable = this.#names.variableOf(left);
    const stored = operator === '=' || operator === '&&=' || operator === '||=';
    const value = variable && stored ? number(this.copy(right)) : this.copy(right);
    // A plain assignment writes without reading.
    const target = variable && operator === '=' ? plain(this.#input.mark(left.start) + variable.name) : this.copy(left);
    const between = (from: number, to: number): string => this.#input.slice(from, to);
    const code = join(variable || operator !== '=' ? 'number' : value.kind, [
      between(node.start, left.start),
      target,
      between(left.end, right.start),
      value,
      between(right.end, node.end),
    ]);
    return this.#written(code, left);
  }

  #written(code: Code, target: AnyNode): Code {
    const variable = this.#names.variableOf(target);
    return variable?.hoisted ? { ...code, writes: new Set([...code.writes, variable]) } : code;
  }

  /** A switch: where a stored boolean is looked for, it is a number on both sides. */
  #switch(discriminant: Expression, node: AnyNode): Code {
    const value = this.copy(discriminant);
    const { code } = this.#parts(node, new Map([[discriminant as AnyNode, value.kind === 'boolean' ? number(value) : value]]));
    return code;
  }

  /** The node's text with its children's texts in their places. */
  #parts(node: AnyNode, given?: ReadonlyMap<AnyNode, Code>): { code: Code; kinds: Kind[] } {
    const parts: (string | Code)[] = [];
    const kinds: Kind[] = [];
    let done = node.start;
    for (const child of childrenOf(node)) {
      const skipped =
        (node.type === 'MemberExpression' && child === node.property && !node.computed) || (node.type === 'LabeledStatement' && child === node.label);
      if (skipped) continue;
      const code = given?.get(child) ?? this.copy(child);
      parts.push(this.#input.slice(done, child.start), code);
      kinds.push(code.kind);
      done = child.end;
    }
    parts.push(this.#input.slice(done, node.end));
    return { code: join('unknown', parts), kinds };
  }
}
