/** The direct twin of ops.ts. */
export { addWord, compareExchange, readWord, tick, writeWord } from './effects.ts';
