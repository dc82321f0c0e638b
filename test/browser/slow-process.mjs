// node slow-process.mjs PID RATE, as a child with a channel to its parent: RATE 6 leaves the process a sixth of its time.
//
// It slows a process with all its threads as DevTools slows a page's main thread alone: the process runs for a slice, is stopped
// for so many times as long, and so on; what a slice took too long, the next stops make up for, none of which is
// long: a processor that is slow does not stand still. It is let go when the parent says anything, and also when the parent is gone.
import { existsSync, openSync, readSync } from 'node:fs';
import { constants, setPriority } from 'node:os';

const [pid, rate] = process.argv.slice(2).map(Number);
/** Milliseconds that it runs at once: less than a stage of a frame takes, more than the signals do. */
const slice = 2;
/** Milliseconds that it is stopped at once, at most: budgets are five times that and more. */
const longest = 20;
/** A slice of so many milliseconds is a lapse: this process was not given a core. It is told, and not made up for: what follows were slower still. */
const lapse = 100;

try {
  // where others compute as well, a slice lasts until this process is given a core
  setPriority(constants.priority.PRIORITY_HIGHEST);
} catch {
  // only who may do so: then slices vary more
}

const never = new Int32Array(new SharedArrayBuffer(4));
/** a timer that is exact to some hundredths of a millisecond, which setTimeout is not */
const sleep = (milliseconds) => milliseconds > 0 && Atomics.wait(never, 0, 0, milliseconds);

// The thread that takes the signal may have to wait for a core while the others run on: what counts is when it has taken it.
const path = `/proc/${pid}/stat`;
const stat = existsSync(path) ? openSync(path, 'r') : undefined;
const bytes = Buffer.alloc(128);
const isStopped = () => {
  if (stat === undefined) return true;
  const line = bytes.toString('latin1', 0, readSync(stat, bytes, 0, bytes.length, 0));
  return line[line.lastIndexOf(')') + 2] === 'T';
};

let isWanted = true;
const end = () => {
  isWanted = false;
};
process.on('message', end);
process.on('disconnect', end);

let [ran, stopped, owed] = [0, 0, 0];
/** when lapses were over, in milliseconds since the epoch */
const lapses = [];
let last = performance.now();
const lap = () => {
  const now = performance.now();
  const passed = now - last;
  last = now;
  return passed;
};
process.send('slow');
try {
  while (isWanted) {
    sleep(slice);
    process.kill(pid, 'SIGSTOP');
    while (!isStopped()) sleep(0.1);
    const one = lap();
    if (one > lapse) {
      lapses.push(performance.timeOrigin + last);
    } else {
      ran += one;
      owed += (rate - 1) * one;
    }
    sleep(Math.min(owed, longest));
    process.kill(pid, 'SIGCONT');
    const pause = lap();
    stopped += pause;
    owed -= pause;
    await new Promise((heard) => setImmediate(heard));
  }
} catch (error) {
  // the process has ended meanwhile, and with it what there was to slow
  if (error.code !== 'ESRCH') throw error;
}
if (process.connected) process.send({ ran, stopped, lapses }, () => process.disconnect());
