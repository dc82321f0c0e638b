import { run } from './run.js';

// the first Ctrl-C ends the work in an orderly way, the second as it always does
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());

const code = await run(process.argv.slice(2), process.stdout, process.stderr, interrupted.signal);
process.exitCode = interrupted.signal.aborted ? 130 : code;
