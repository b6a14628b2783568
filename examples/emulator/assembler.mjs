/**
 * The instructions of the example's CPU and an assembler for them.
 *
 * An instruction takes 8 bytes: operation, rd, rs, rt (or the size of an access), and a signed 32-bit immediate. There are 16 registers of 64 bits:
 * a0-a7 (arguments; a7 also the number of a system call) and t0-t7.
 */
export const OP = { li: 1, lih: 2, add: 3, addi: 4, sub: 5, ld: 6, st: 7, beq: 8, bne: 9, blt: 10, jal: 11, jr: 12, ecall: 13 };

/** How the operands of an operation are written: r register (in the order rd, rs, rt), i number or label, o label as distance from here. */
const OPERANDS = { li: 'di', lih: 'di', add: 'dst', addi: 'dsi', sub: 'dst', ld: 'dis', st: 'dis', beq: 'dso', bne: 'dso', blt: 'dso', jal: 'do', jr: 's', ecall: '' };
const FIELD = { d: 1, s: 2, t: 3 };

const register = (name) => {
  const [, kind, number] = /^([at])([0-7])$/.exec(name) ?? [];
  if (!kind) throw new Error(`"${name}" is no register`);
  return Number(number) + (kind === 't' ? 8 : 0);
};

/** Bytes of a line: of text (`.ascii "…"`), or one instruction. `valueOf` knows labels and numbers. */
function encode(line, at, valueOf) {
  if (line.startsWith('.ascii')) {
    const text = new TextEncoder().encode(JSON.parse(line.slice(6)));
    const padded = new Uint8Array(Math.ceil(text.length / 8) * 8);
    padded.set(text);
    return padded;
  }
  const [mnemonic, ...operands] = line.split(/[\s,()]+/).filter(Boolean);
  const [name, size] = mnemonic.split('.');
  const kinds = OPERANDS[name];
  if (kinds === undefined || kinds.length !== operands.length) throw new Error(`"${line}" is no instruction`);
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  bytes[0] = OP[name];
  bytes[3] = Number(size ?? 0);
  for (const [i, kind] of [...kinds].entries()) {
    if (kind in FIELD) bytes[FIELD[kind]] = register(operands[i]);
    else view.setInt32(4, valueOf(operands[i]) - (kind === 'o' ? at : 0), true);
  }
  return bytes;
}

/** Machine code that lies at `origin`. */
export function assemble(source, origin) {
  const labels = new Map();
  const lines = [];
  let at = origin;
  for (const text of source.split('\n')) {
    const line = text.replace(/#.*/, '').trim();
    if (line.endsWith(':')) labels.set(line.slice(0, -1), at);
    else if (line !== '') {
      lines.push({ line, at });
      at += encode(line, at, () => 0).length;
    }
  }
  const code = new Uint8Array(at - origin);
  const valueOf = (text) => {
    const value = labels.get(text) ?? Number(text);
    if (Number.isNaN(value)) throw new Error(`"${text}" is neither a label nor a number`);
    return value;
  };
  for (const { line, at: place } of lines) code.set(encode(line, place, valueOf), place - origin);
  return code;
}
