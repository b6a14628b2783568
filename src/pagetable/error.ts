/**
 * The one class of input errors. Whatever else is thrown is a bug.
 *
 * Invariant: `message` is one sentence that says what, where and what was expected; no error carries a partial result.
 */
export type PxdErrorCode =
  /** A file is damaged, truncated or of a form that pxd does not read. */
  | 'bad-image'
  /** Arguments or options that make no sense together. */
  | 'usage'
  /** A name (mode, pid, level) that does not exist. */
  | 'unknown'
  /** Something needed is not there or not permitted. */
  | 'unavailable'
  /** A bound (memory, entries) was reached. */
  | 'limit'
  /** A process of a machine sleeps until another one does something; what it did is not over. */
  | 'asleep';

export class PxdError extends Error {
  readonly code: PxdErrorCode;
  /** Byte offset in the file, or physical address, where it was found. */
  readonly where: bigint | undefined;

  constructor(code: PxdErrorCode, message: string, where?: bigint) {
    super(message);
    this.name = 'PxdError';
    this.code = code;
    this.where = where;
  }
}
