/**
 * `pxd/image/node`: what `pxd/image` has, and images by their path.
 *
 * ```ts
 * const image = await openImage('vmcore');
 * const folder = await openImage('tests/fixtures/captures/x86_64-4level');
 * folder.folder?.roots;       // registers of each process
 * ```
 */
export * from '../index.ts';
export { nodeCodecs } from './codecs.ts';
export { FileBytes } from './file.ts';
export { type OpenImageOptions, openImage, readLayout, readRoots } from './open.ts';
export { readWrapped } from './wrapped.ts';
