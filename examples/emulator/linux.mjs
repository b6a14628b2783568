/**
 * What is left for an emulator to do of an operating system when pxd does the memory: numbers of system calls, output, signals, waiting, turns.
 */
import { Cpu, Task } from './cpu.mjs';

/** Calls that go straight to pxd, by the numbers of asm-generic/unistd.h. */
const CALLS = {
  25: 'fcntl',
  46: 'ftruncate',
  57: 'close',
  59: 'pipe2',
  63: 'read',
  64: 'write',
  172: 'getpid',
  214: 'brk',
  215: 'munmap',
  216: 'mremap',
  222: 'mmap',
  226: 'mprotect',
  227: 'msync',
  228: 'mlock',
  229: 'munlock',
  232: 'mincore',
  233: 'madvise',
  279: 'memfd_create',
};
const SYS = { write: 64, exit: 93, sigaction: 134, sigreturn: 139, clone: 220, wait4: 260 };
const ECHILD = 10;
const ENOMEM = 12;
const EFAULT = 14;
const ENOSYS = 38;
/** Instructions of a turn. */
const TURN = 100;
const CPUS = 2;
/** Where programs lie. */
export const ORIGIN = 0x10000000;

export class Linux {
  /** Standard output of all processes. */
  output = '';
  /** Deaths by signals, as a shell would report them. */
  log = [];
  tasks = [];
  turn = 0;

  constructor(machine) {
    this.machine = machine;
    this.cpus = Array.from({ length: CPUS }, (_, i) => new Cpu(machine, i));
  }

  /** execve(2) of a sort: a process with code at ORIGIN, readable and executable. */
  exec(code) {
    const process = this.machine.spawn();
    const size = Math.ceil(code.length / this.machine.pageSize) * this.machine.pageSize;
    process.syscall('mmap', ORIGIN, size, 3, 0x32, -1, 0);
    process.write(BigInt(ORIGIN), code);
    process.syscall('mprotect', ORIGIN, size, 5);
    return this.#add(new Task(process, ORIGIN), undefined);
  }

  #add(task, parent) {
    Object.assign(task, { pid: task.process.pid, parent, handlers: new Map(), saved: undefined, status: undefined });
    this.tasks.push(task);
    return task;
  }

  /** Processes take turns on the CPUs until all have ended, or for so many turns. True when none is left. */
  run(turns = Infinity) {
    for (; turns > 0; turns--) {
      const living = this.tasks.filter((t) => t.status === undefined);
      if (living.length === 0) return true;
      const task = living[this.turn % living.length];
      const stopped = this.cpus[this.turn % CPUS].run(task, TURN);
      this.turn++;
      if (stopped === 'ecall') this.#call(task);
      else if (stopped !== 'time') this.#signal(task, stopped);
    }
    return false;
  }

  #call(task) {
    const { registers, process } = task;
    const result = this.#result(task, Number(registers[7]), process);
    if (result === undefined) return;
    registers[0] = BigInt(result);
    task.pc += 8;
  }

  /** Result of a call, or undefined when a0 and pc stay as they are. */
  #result(task, number, process) {
    const [a0, a1, a2, a3, a4, a5] = task.registers;
    if (number === SYS.write && a0 === 1n) {
      const { bytes, fault } = process.read(a1, Number(a2));
      this.output += new TextDecoder().decode(bytes);
      return fault && bytes.length === 0 ? -EFAULT : bytes.length;
    }
    if (number === SYS.exit) return this.#end(task, Number(a0 & 255n) << 8);
    if (number === SYS.clone) return this.#fork(task);
    if (number === SYS.wait4) return this.#wait(task, a1);
    if (number === SYS.sigaction) {
      task.handlers.set(Number(a0), Number(a1));
      return 0;
    }
    if (number === SYS.sigreturn) {
      task.registers.set(task.saved.registers);
      task.pc = task.saved.pc;
      task.saved = undefined;
      return undefined;
    }
    const name = CALLS[number];
    return name === undefined ? -ENOSYS : process.syscall(name, a0, a1, a2, a3, a4, a5);
  }

  #fork(task) {
    let process;
    try {
      process = task.process.fork();
    } catch (error) {
      if (error.code !== 'limit') throw error;
      return -ENOMEM;
    }
    const child = this.#add(new Task(process, task.pc + 8), task);
    child.registers.set(task.registers);
    child.registers[0] = 0n;
    child.handlers = new Map(task.handlers);
    return child.pid;
  }

  /** wait4(2) for any child; while none has ended the call is made again at the next turn. */
  #wait(task, pointer) {
    const children = this.tasks.filter((t) => t.parent === task);
    if (children.length === 0) return -ECHILD;
    const ended = children.find((t) => t.status !== undefined);
    if (ended === undefined) return undefined;
    if (pointer !== 0n && task.process.store(pointer, 4, BigInt(ended.status))) return -EFAULT;
    this.tasks.splice(this.tasks.indexOf(ended), 1);
    return ended.pid;
  }

  /** A fault goes to the handler with the signal, its code and the address in a0 to a2, or ends the process. */
  #signal(task, { signal, code, address }) {
    const handler = task.handlers.get(signal);
    if (handler === undefined || task.saved !== undefined) {
      this.log.push(`process ${task.pid}: signal ${signal}, code ${code}, address 0x${address.toString(16)}`);
      this.#end(task, signal);
      return;
    }
    task.saved = { pc: task.pc, registers: task.registers.slice() };
    task.registers.set([BigInt(signal), BigInt(code), address]);
    task.pc = handler;
  }

  #end(task, status) {
    task.process.exit(status);
    task.status = status;
    return undefined;
  }

  /** All that there is: the machine as bytes, and what the emulator itself knows. */
  freeze() {
    const tasks = this.tasks.map((t) => ({
      pid: t.pid,
      pc: t.pc,
      registers: t.registers.slice(),
      status: t.status,
      handlers: [...t.handlers],
      saved: t.saved && { pc: t.saved.pc, registers: t.saved.registers.slice() },
      parent: t.parent?.pid,
    }));
    return { bytes: this.machine.snapshot(), tasks, turn: this.turn, output: this.output, log: [...this.log] };
  }

  /** Goes on from what `freeze` gave, in a machine restored from its bytes. */
  static thaw(machine, { tasks, turn, output, log }) {
    const linux = new Linux(machine);
    for (const t of tasks) {
      // Of a process that has ended there is only what its parent will ask for.
      const process = t.status === undefined ? machine.process(t.pid) : { pid: t.pid };
      const task = linux.#add(new Task(process, t.pc), t.parent);
      Object.assign(task, { status: t.status, handlers: new Map(t.handlers), saved: t.saved });
      task.registers.set(t.registers);
    }
    for (const task of linux.tasks) task.parent = linux.tasks.find((t) => t.pid === task.parent);
    return Object.assign(linux, { turn, output, log: [...log] });
  }
}
