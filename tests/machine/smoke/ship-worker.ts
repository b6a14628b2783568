/** The other thread of clone.test.ts: takes machines with tasks in the middle of calls and answers with the bytes at their end. */
import { parentPort } from 'node:worker_threads';
import { resume, type Shipped } from './ship.ts';

parentPort?.on('message', (parcel: Shipped) => parentPort?.postMessage(resume(parcel).bytes));
