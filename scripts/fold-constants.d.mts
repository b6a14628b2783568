/** Text of a file by its path: the source's, or what other steps have made of it. */
export type Prepare = (text: string, path: string) => string;

export interface ConstantFolder {
  /** The file's text with its constants imported from `numbers`, on the first line; itself when it uses none. */
  fold(text: string, path: string): string;
  /** Text of the module of the constants that a folded file uses. */
  numbers(path: string): string;
}

export function constantFolder(root: string, prepare: Prepare): ConstantFolder;
