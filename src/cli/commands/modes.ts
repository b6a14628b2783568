/** `pxd modes`: every paging mode that pxd knows. */
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { paint } from '../io.ts';
import { tableLines } from '../table.ts';

export function register(program: Command, { io }: Context): void {
  program
    .command('modes')
    .description('list the paging modes')
    .argument('[name]', 'only modes whose name or title holds this text')
    .option('--json', 'one object a mode')
    .action(async (name: string | undefined, options: { json?: boolean }) => {
      const [{ allModes }, { sizeOf }, { PxdError }] = await Promise.all([
        import('../../arch/registry.ts'),
        import('../../inspect/text.ts'),
        import('../../pagetable/error.ts'),
      ]);
      const modes = allModes().filter((m) => name === undefined || `${m.name} ${m.family} ${m.title}`.toLowerCase().includes(name.toLowerCase()));
      if (modes.length === 0) throw new PxdError('unknown', `no paging mode matches "${name}"; "pxd modes" without a name lists all ${allModes().length}`);
      if (options.json) {
        for (const m of modes) {
          const levels = m.levels.map((l) => ({ name: l.name, manual: l.manual, shift: l.shift, bits: l.bits, entryBytes: l.entryBytes }));
          const roots = m.roots.map((r) => ({ names: r.names, of: r.of, doc: r.doc }));
          io.write(
            `${JSON.stringify({ name: m.name, family: m.family, title: m.title, pageBytes: 2 ** m.pageShift, vaBits: m.vaBits, paBits: m.paBits, endian: m.endian, levels, roots, sources: m.sources })}\n`,
          );
        }
        return;
      }
      const rows = modes.map((m) => [
        paint(io, 'bold', m.name),
        sizeOf(2 ** m.pageShift),
        String(m.vaBits),
        String(m.paBits),
        m.levels.map((l) => l.bits).join('+'),
        m.roots.map((r) => r.names[0]).join(' '),
        m.title,
      ]);
      const columns = [
        { title: 'mode' },
        { title: 'page', right: true },
        { title: 'va', right: true },
        { title: 'pa', right: true },
        { title: 'index bits' },
        { title: 'root' },
        { title: 'what it is' },
      ];
      io.write(`${tableLines(columns, rows, { header: (t) => paint(io, 'dim', t), width: Math.max(40, io.columns) }).join('\n')}\n`);
    });
}
