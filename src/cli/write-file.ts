/** Writes a result where the user said, whole or not at all. */
import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { PxdError } from '../pagetable/error.ts';

/** @throws {PxdError} when the file exists and may not be replaced, or cannot be written. */
export function writeChunks(path: string, chunks: readonly Uint8Array[], replace: boolean): void {
  // A file that is replaced stays whole until the new one is.
  const target = replace ? `${path}.part` : path;
  let fd: number;
  try {
    fd = openSync(target, replace ? 'w' : 'wx');
  } catch (e) {
    const { code, message } = e as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw new PxdError('usage', `${path} exists: --force replaces it`);
    throw new PxdError('unavailable', `${path} cannot be written: ${message}`);
  }
  try {
    for (const chunk of chunks) for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at);
    closeSync(fd);
    if (replace) renameSync(target, path);
  } catch (e) {
    rmSync(target, { force: true });
    throw new PxdError('unavailable', `${path} cannot be written: ${(e as Error).message}`);
  }
}
