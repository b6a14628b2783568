/**
 * `npm run dialect [-- FILE…]`: checks that kernel code is written in the dialect (src/kernel/compile/violation.ts), all of src/kernel and src/mm that
 * belongs to the programs. One line a violation: file:line:column: name: sentence. Exit code 1 when there is any. `--rules` prints the rules.
 */
import { readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkDialect, kernelPrograms, theCompiler } from './kernel-program.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { RULES, violationText } = await theCompiler();
const given = process.argv.slice(2);
if (given.includes('--rules')) {
  const width = Math.max(...Object.keys(RULES).map((name) => name.length));
  for (const [name, sentence] of Object.entries(RULES)) console.log(`${name.padEnd(width)}  ${sentence}`);
} else {
  const { files } = await kernelPrograms();
  const within = (folder) => readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(root, folder, name));
  const wanted = given.length > 0 ? given.map((name) => resolve(name)) : ['src/kernel', 'src/mm'].flatMap(within).filter((path) => files.belongs(path));
  const known = new Map();
  let count = 0;
  for (const path of wanted.sort())
    for (const violation of await checkDialect(path, undefined, known)) {
      count++;
      console.log(violationText({ ...violation, file: relative(process.cwd(), join(root, violation.file)) }));
    }
  console.log(`dialect: ${wanted.length} files, ${count} violations`);
  process.exitCode = count > 0 ? 1 : 0;
}
