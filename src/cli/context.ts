/** What a command and the run that loads it agree on. */
import type { Command } from 'commander';
import type { Io } from './io.ts';

/** What a command's file exports. */
export interface CommandModule {
  register(program: Command, context: Context): void;
  /** Puts arguments right that commander alone would take for others. */
  prepare?(argv: readonly string[]): string[];
}

/** What commands share beside their options. */
export interface Context {
  readonly io: Io;
  /** A command that found something and was asked to be strict sets this to 1. */
  exitCode: number;
}
