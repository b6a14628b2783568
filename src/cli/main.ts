#!/usr/bin/env node
/** The bin: this process's arguments and streams. Everything else is in `run.ts`, which tests call in-process. */
import { ProcessIo } from './io.ts';
import { run } from './run.ts';

const io = new ProcessIo();
process.exitCode = await run(process.argv.slice(2), io);
