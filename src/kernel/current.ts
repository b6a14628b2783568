/** Which task runs and on which CPU: set by whoever drives kernel code, never read by it to decide anything but ownership. */

/** Number of the running task. */
export let current = 0;
/** CPU that it runs on. */
export let cpu = 0;

export function setCurrent(task: number, onCpu = 0): void {
  current = task;
  cpu = onCpu;
}
