/** Primitives of the sample kernel. */
import * as effects from './effects.ts';
import { primitive } from './op.ts';

export const readWord = primitive(effects.readWord);
export const writeWord = primitive(effects.writeWord);
export const addWord = primitive(effects.addWord);
export const compareExchange = primitive(effects.compareExchange);
export const tick = primitive(effects.tick);
export const readQuietly = primitive(effects.readQuietly);
export const writeQuietly = primitive(effects.writeQuietly);
