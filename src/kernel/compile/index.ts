/**
 * The compiler of kernel code: one source in the dialect, two programs (DESIGN section 5). A tool of the build and of the tests; nothing that runs
 * imports it except `runtime.ts`, which the step program stands on.
 */
export { type CheckInput, checkDialect } from './check.ts';
export { toDirect } from './direct.ts';
export { type ModuleExports, moduleExports, parseModule } from './exports.ts';
export { type DialectFiles, type DialectOptions, dialectFiles, directTwin, type ProgramName, resolvePath } from './files.ts';
export { toStep } from './step.ts';
export { type Scan, scan } from './tokens.ts';
export { DialectError, RULES, type RuleName, type Violation, violationText } from './violation.ts';
