/** Opens what the user named and hands it over as a session wants it: the image, and what lies beside it. */
import type { Image } from '../image/image.ts';
import { openImage, readRoots as readRootsFile } from '../image/node/open.ts';
import type { ImageFormat } from '../image/open.ts';
import type { RootEntry } from '../image/roots.ts';
import type { Surroundings } from '../inspect/session.ts';

export interface Opened {
  readonly image: Image;
  readonly around: Surroundings;
}

/** @throws {PxdError} with one sentence for whatever is wrong with the path or the file. */
export async function openForSession(path: string, options: { layout?: string; format?: ImageFormat } = {}): Promise<Opened> {
  const image = await openImage(path, options);
  const { folder } = image;
  if (folder === undefined) return { image, around: { name: path } };
  const { meta, roots } = folder;
  return {
    image,
    around: {
      name: path,
      roots,
      ...(meta?.mode !== undefined ? { mode: meta.mode } : {}),
      ...(meta?.kernel?.release !== undefined ? { kernel: meta.kernel.release } : {}),
    },
  };
}

/** Reads a roots file. */
export const readRoots = async (path: string): Promise<RootEntry[]> => readRootsFile(path);
