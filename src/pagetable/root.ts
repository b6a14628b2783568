/** Chooses a root register of a mode among the registers that a dump, a file or a person gives. */
import type { Registers, Root, RootRegister } from '../arch/mode.ts';
import type { CompiledMode } from './compile.ts';
import { PxdError } from './error.ts';

/** All root registers of the mode that are among the given ones. */
export function rootRegisters(mode: CompiledMode, registers: Registers, of: 'user' | 'kernel'): { register: RootRegister; value: bigint }[] {
  const found: { register: RootRegister; value: bigint }[] = [];
  for (const register of mode.mode.roots) {
    if (register.of !== of && register.of !== 'both') continue;
    const name = register.names.find((n) => registers[n] !== undefined);
    if (name !== undefined) found.push({ register, value: registers[name] });
  }
  return found;
}

/** Registers with lower-case names. */
export const lowerCase = (registers: Registers): Registers => Object.fromEntries(Object.entries(registers).map(([k, v]) => [k.toLowerCase(), v]));

/** The root for a half out of a set of registers. @throws {PxdError} when none of the mode's root registers is there or its value is not sane. */
export function rootFromRegisters(mode: CompiledMode, registers: Registers, of: 'user' | 'kernel'): Root {
  const given = lowerCase(registers);
  const found = rootRegisters(mode, given, of);
  if (found.length === 0) {
    const wanted = mode.mode.roots.filter((r) => r.of === of || r.of === 'both').map((r) => r.names[0]);
    throw new PxdError(
      'unknown',
      `no root register of ${mode.mode.name} for the ${of} half: expected ${wanted.join(' or ')}, found ${Object.keys(given).join(', ') || 'none'}`,
    );
  }
  const [first, ...others] = found.map((f) => resolved(f, given));
  // A register may turn out to serve the other half alone (arm's TTBCR tells): then the next one has this half.
  const serving = [first, ...others].find((r) => r instanceof PxdError === false && (r as Root).ranges.some((range) => range.half === of)) ?? first;
  if (serving instanceof PxdError) throw serving;
  return serving;
}

/** The root that a register names, or why it names none. */
function resolved(found: { register: RootRegister; value: bigint }, given: Registers): Root | PxdError {
  try {
    return found.register.resolve(found.value, given);
  } catch (e) {
    if (e instanceof RangeError) return new PxdError('usage', `${found.register.names[0]} 0x${found.value.toString(16)}: ${e.message}`);
    throw e;
  }
}
