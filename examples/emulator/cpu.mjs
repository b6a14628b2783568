/**
 * A CPU that runs on pxd's memory management: loads, stores and fetches go through the soft TLB inline and ask the mm only on a miss.
 *
 * `run` stops for what an operating system has to see: a system call, a fault, the end of its time.
 */
import { OP } from './assembler.mjs';

/** Entries of the soft TLB for each kind of access, and where the kinds begin. */
const ENTRIES = 512;
const LOADS = 0;
const STORES = 512;
const FETCHES = 1024;
const SIGILL = 4;
const SIGBUS = 7;

/** What of a program the CPU holds while it runs: the process whose memory it is, registers, place in the code. */
export class Task {
  constructor(process, pc) {
    this.process = process;
    this.pc = pc;
    /** The same 16 registers as 64-bit numbers, as halves (low first), and as bytes. */
    this.registers = new BigUint64Array(16);
    this.halves = new Uint32Array(this.registers.buffer);
    this.bytes = new Uint8Array(this.registers.buffer);
  }
}

export class Cpu {
  /** Number of the CPU in the machine: 0 to 3. */
  constructor(machine, number) {
    this.machine = machine;
    this.number = number;
    this.pageSize = machine.pageSize;
    /** Accesses that had to ask the mm. */
    this.misses = 0;
  }

  /** Runs a task for at most `budget` instructions: 'ecall', a fault `{ signal, code, address }`, or 'time'. pc is where it stopped. */
  run(task, budget) {
    this.task = task;
    this.tlb = task.process.runOn(this.number);
    const { registers, halves } = task;
    for (; budget > 0; budget--) {
      const at = this.fetch();
      if (typeof at !== 'number') return at;
      const { ram } = this.tlb;
      const rd = ram[at + 1] & 15;
      const rs = ram[at + 2] & 15;
      const rt = ram[at + 3];
      const immediate = ram[at + 4] | (ram[at + 5] << 8) | (ram[at + 6] << 16) | (ram[at + 7] << 24);
      let next = task.pc + 8;
      switch (ram[at]) {
        case OP.li:
          registers[rd] = BigInt(immediate);
          break;
        case OP.lih:
          halves[2 * rd + 1] = immediate;
          break;
        case OP.add:
          registers[rd] = registers[rs] + registers[rt & 15];
          break;
        case OP.addi:
          registers[rd] = registers[rs] + BigInt(immediate);
          break;
        case OP.sub:
          registers[rd] = registers[rs] - registers[rt & 15];
          break;
        case OP.ld:
        case OP.st: {
          if (rt < 1 || rt > 16 || (rt > 8 && rd === 15)) return this.illegal();
          const fault = ram[at] === OP.ld ? this.load(rd, rs, immediate, rt) : this.store(rd, rs, immediate, rt);
          if (fault) return fault;
          break;
        }
        case OP.beq:
          if (registers[rd] === registers[rs]) next = task.pc + immediate;
          break;
        case OP.bne:
          if (registers[rd] !== registers[rs]) next = task.pc + immediate;
          break;
        case OP.blt:
          if (BigInt.asIntN(64, registers[rd]) < BigInt.asIntN(64, registers[rs])) next = task.pc + immediate;
          break;
        case OP.jal:
          registers[rd] = BigInt(next);
          next = task.pc + immediate;
          break;
        case OP.jr:
          next = Number(registers[rs]);
          break;
        case OP.ecall:
          return 'ecall';
        default:
          return this.illegal();
      }
      task.pc = next;
    }
    return 'time';
  }

  illegal() {
    return { signal: SIGILL, code: 1, address: BigInt(this.task.pc) };
  }

  /** Place in RAM of the instruction at pc. */
  fetch() {
    const { pc, process } = this.task;
    if (pc % 8 !== 0) return { signal: SIGBUS, code: 1, address: BigInt(pc) };
    const vpn = Math.floor(pc / this.pageSize);
    const i = vpn & (ENTRIES - 1);
    if (this.tlb.tags[FETCHES + i] !== vpn + 1) {
      const fault = process.fetch(BigInt(pc), this.number);
      this.missed();
      if (fault) return fault;
    }
    return this.tlb.pages[i] * this.pageSize + (pc - vpn * this.pageSize);
  }

  /** Loads `size` bytes into rd, and into the register after it what is beyond 8. */
  load(rd, rs, displacement, size) {
    const { halves, bytes } = this.task;
    // A number is exact below 2^53; what is above goes the long way.
    const address = halves[2 * rs] + halves[2 * rs + 1] * 2 ** 32 + displacement;
    const vpn = Math.floor(address / this.pageSize);
    const offset = address - vpn * this.pageSize;
    const i = vpn & (ENTRIES - 1);
    const { tags, pages, ram } = this.tlb;
    // vpn -1 would find the tag of an empty entry.
    if (vpn < 0 || address >= 2 ** 53 || tags[LOADS + i] !== vpn + 1 || offset + size > this.pageSize) return this.loadSlowly(rd, rs, displacement, size);
    const from = pages[i] * this.pageSize + offset;
    bytes.fill(0, rd * 8, rd * 8 + (size > 8 ? 16 : 8));
    for (let k = 0; k < size; k++) bytes[rd * 8 + k] = ram[from + k];
    return undefined;
  }

  /** A miss, or an access that crosses pages: the mm does it, whole or not at all. */
  loadSlowly(rd, rs, displacement, size) {
    const { process, registers } = this.task;
    const value = process.load(BigInt.asUintN(64, registers[rs] + BigInt(displacement)), size, this.number);
    this.missed();
    if (typeof value !== 'bigint') return value;
    registers[rd] = value;
    if (size > 8) registers[rd + 1] = value >> 64n;
    return undefined;
  }

  store(rd, rs, displacement, size) {
    const { halves, bytes } = this.task;
    const address = halves[2 * rs] + halves[2 * rs + 1] * 2 ** 32 + displacement;
    const vpn = Math.floor(address / this.pageSize);
    const offset = address - vpn * this.pageSize;
    const i = vpn & (ENTRIES - 1);
    const { tags, pages, ram } = this.tlb;
    if (vpn < 0 || address >= 2 ** 53 || tags[STORES + i] !== vpn + 1 || offset + size > this.pageSize) return this.storeSlowly(rd, rs, displacement, size);
    const to = pages[i] * this.pageSize + offset;
    for (let k = 0; k < size; k++) ram[to + k] = bytes[rd * 8 + k];
    return undefined;
  }

  storeSlowly(rd, rs, displacement, size) {
    const { process, registers } = this.task;
    const value = size > 8 ? registers[rd] | (registers[rd + 1] << 64n) : registers[rd];
    const fault = process.store(BigInt.asUintN(64, registers[rs] + BigInt(displacement)), size, value, this.number);
    this.missed();
    return fault;
  }

  /** A call into the machine may have made RAM grow: the arrays are taken again. */
  missed() {
    this.misses++;
    this.tlb = this.machine.tlb.view(this.number);
  }
}
