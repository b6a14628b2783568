/**
 * Runs a program on the example's CPU and keeps what its memory looked like in the middle:
 *
 *     node examples/emulator/main.mjs [program.s [capture.elf]]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { Machine } from 'pxd/machine';
import { assemble } from './assembler.mjs';
import { Linux, ORIGIN } from './linux.mjs';

const [source = new URL('program.s', import.meta.url), file] = process.argv.slice(2);
const machine = new Machine({ mode: 'x86-4level', ramBytes: 2 ** 28 });
const linux = new Linux(machine);
linux.exec(assemble(readFileSync(source, 'utf8'), ORIGIN));
// Until there are two processes, who share pages by copy on write.
while (linux.tasks.length < 2 && !linux.run(1));
if (file) writeFileSync(file, Buffer.concat(machine.capture()));
linux.run();
process.stdout.write(linux.output);
for (const line of linux.log) console.log(line);
