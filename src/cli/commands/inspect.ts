import type { Command } from 'commander';
import { PxdError } from '../../pagetable/error.ts';
import type { Context } from '../run.ts';

export function register(program: Command, _context: Context): void {
  program.command('inspect').description('not implemented yet').action(() => {
    throw new PxdError('unavailable', 'inspect is not implemented');
  });
}
