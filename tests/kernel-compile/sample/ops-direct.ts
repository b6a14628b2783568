/** The direct twin of ops.ts. */
export { addWord, compareExchange, readQuietly, readWord, tick, writeQuietly, writeWord } from './effects.ts';
