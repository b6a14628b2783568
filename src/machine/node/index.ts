/** `pxd/machine/node`: what a program that runs machines in Node may want of Node. */
import { setFlagsFromString } from 'node:v8';

/** Bytes of V8's bytecode that one optimised function may take in of those it calls; V8's own limit is 920. */
const INLINED_BYTECODE = 6000;

/**
 * Makes V8 build larger functions out of the mm's small ones, in this process and its workers, from now on. Call it before a machine does much. Compiling takes
 * about half as long again, which pays where a machine is busy for some seconds: faults, fork, mmap and munmap are a tenth to a quarter faster then (docs/machine.md).
 */
export function inlineMore(): void {
  setFlagsFromString(`--max-inlined-bytecode-size-cumulative=${INLINED_BYTECODE}`);
}
