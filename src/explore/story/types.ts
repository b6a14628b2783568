/**
 * A story: one schedule of a scenario, told. Plain data that every diagram is drawn from, and that JSON carries as it is.
 *
 * Invariants: nothing in a story refers to the machine that it happened in; texts name objects by the short names of `objects` (P1, T1, VMA1), which follow
 * the order in which they matter: those of the violation first. Numbers of lanes, events and steps count from 0.
 */

/** What an object is. Entries of page tables are named by the address that they translate; they, fields and locks are not listed. */
export type ObjectKind = 'page' | 'table' | 'mm' | 'vma' | 'struct' | 'entry' | 'field' | 'lock';

export interface StoryObject {
  /** `P1`, `T1`, `VMA1`, `mm1`, `inode1`; of an entry its address. */
  readonly name: string;
  readonly kind: ObjectKind;
  /** What it is: `page 128, in page cache`, `page table of mm1 for 0x10000000-0x10200000`. */
  readonly what: string;
  /** Whether the violation is about it. */
  readonly violated: boolean;
}

/** A column: a task and the CPU that it runs on. What the hardware of that CPU does by itself stands in the same column. */
export interface Lane {
  /** Name of the task in the scenario. */
  readonly task: string;
  readonly cpu: number;
  /** The calls that it makes: `mremap(0x10000000, 0x2000, …)`. */
  readonly calls: readonly string[];
}

/** A function of the kernel on a task's stack. */
export interface StackFrame {
  readonly name: string;
  /** As Linux spells it where it is known: `move_ptes`. */
  readonly linux: string;
  /** `src/mm/move-page-tables.ts`. */
  readonly file: string;
  readonly line: number | null;
}

/** What a CPU's TLB gains or loses. */
export interface TlbChange {
  readonly cpu: number;
  readonly change: 'fill' | 'drop';
  /** First address that it translates, hexadecimal. */
  readonly address: string;
  /** `P1`, or of a cached upper entry the table, `T1`. */
  readonly to: string;
}

/** How an event touches an object. `call`: it only names it. */
export interface Touch {
  readonly object: string;
  readonly access: 'read' | 'write' | 'free' | 'lock' | 'unlock' | 'call';
}

export type EventKind =
  /** A call begins. */
  | 'begin'
  /** A task performs an operation. */
  | 'operation'
  /** The CPU reads a translation ahead of time. */
  | 'hardware'
  /** The CPU takes the interrupt of a flush, or is sent it. */
  | 'interrupt';

/** One action of the schedule. */
export interface StoryEvent {
  /** Number of the action in the schedule; −1 for what would have come after the violation. */
  readonly step: number;
  readonly kind: EventKind;
  readonly lane: number;
  readonly cpu: number;
  /** The call that the task is in, and its number among those of the task; null for hardware. */
  readonly call: string | null;
  readonly callNumber: number;
  /** `spin_lock`; null when a call begins. */
  readonly operation: string | null;
  readonly args: readonly string[];
  /** What the operation answers, where that says something: `P1 dirty|write`. */
  readonly result: string | null;
  /** All of it in a line: `ptep_get_and_clear(0x10000000) = P1 dirty|write`. */
  readonly text: string;
  /** Innermost first; of a call that begins, and of hardware, empty. */
  readonly stack: readonly StackFrame[];
  /** Locks that the task holds afterwards, in the order in which it took them. */
  readonly held: readonly string[];
  readonly touches: readonly Touch[];
  /** Objects that go back to an allocator. */
  readonly freed: readonly string[];
  readonly tlb: readonly TlbChange[];
  /** The result of the call, when it returns with this event: `0`, `-ENOMEM`. */
  readonly returns: string | null;
  /** 0: of no concern to the violation. 1: to do with its objects. 2: changes them, or sees what another task changed. 3: part of the conflict. */
  readonly weight: 0 | 1 | 2 | 3;
}

/** An event of the conflict. */
export interface ConflictMark {
  /** Number of the event in `events`. */
  readonly event: number;
  /** `cause`: makes what the violation runs into; `violation`: where it happens. */
  readonly role: 'cause' | 'violation';
  /** `CPU 0: 0x10000000 -> P1`. */
  readonly text: string;
}

export interface StoryViolation {
  /** `I4`, `guard`, a check of the scenario's. */
  readonly rule: string;
  /** As it was thrown. */
  readonly message: string;
  /** The same with names in place of numbers, without the rule. */
  readonly text: string;
  /** `step`: an action broke it; `end`: found when all tasks were done. */
  readonly when: 'step' | 'end';
  /** Whether the last event's operation was done, and the code behind it broke the rule. */
  readonly behind: boolean;
  /** The function that did, as Linux spells it, where that is known. */
  readonly inside: string | null;
  /** Names of what the message is about. */
  readonly objects: readonly string[];
  /** With what leads to these: entries that pointed to the page. */
  readonly about: readonly string[];
}

export interface Story {
  readonly scenario: string;
  readonly title: string;
  readonly source: string | null;
  readonly variant: string;
  readonly mode: string;
  /** What of the kernel's code is another: name and what it does. */
  readonly switches: readonly { readonly name: string; readonly does: string; readonly origin: string }[];
  /** Plays the run again. */
  readonly schedule: string;
  readonly pageBytes: number;
  readonly lanes: readonly Lane[];
  readonly objects: readonly StoryObject[];
  readonly events: readonly StoryEvent[];
  /** What the other tasks would have done next about it: too late. In the order of lanes. */
  readonly tooLate: readonly StoryEvent[];
  readonly violation: StoryViolation | null;
  /** Causes first, the violation last. Empty when nothing was violated. */
  readonly conflict: readonly ConflictMark[];
}
