// `npm test`: everything from a clean clone with nothing but Node 20 — packages, a Chromium, build, check, all tests.
// Arguments go to vitest, so `npm test -- test/node/graph` runs a part. The last line is always "N passed, N failed".
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findChromium } from './browser/executable.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);

const [major = 0] = process.versions.node.split('.').map(Number);
if (major < 20) stop(`Whylight is built and tested with Node 20 or newer; this is Node ${process.versions.node}.`);

if (packagesAreStale()) step('packages', 'npm', ['ci', '--no-audit', '--no-fund']);
const chromium = findChromium() ?? installChromium();
step('build', 'npm', ['run', '--silent', 'build']);
const checked = run('check', 'npm', ['run', '--silent', 'check']);
const { passed, failed, skipped } = test();

console.log(`${passed} passed, ${failed + (checked ? 0 : 1)} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = checked && failed === 0 && passed > 0 ? 0 : 1;

function packagesAreStale() {
  const installed = join('node_modules', '.package-lock.json');
  return !existsSync(installed) || statSync(installed).mtimeMs < statSync('package-lock.json').mtimeMs;
}

function installChromium() {
  const advice = 'install Chromium or Google Chrome, or set CHROME_PATH to one, and run npm test again.';
  if (process.env.CHROME_PATH) stop(`CHROME_PATH is ${process.env.CHROME_PATH}, where there is no file: ${advice}`);
  if (process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    const install = ['install', '-y', '--no-install-recommends', 'chromium'];
    if (!run('chromium', 'apt-get', install) && run('package lists', 'apt-get', ['update'])) {
      run('chromium', 'apt-get', install);
    }
  }
  return findChromium() ?? stop(`The browser tests need Chromium, and there is none: ${advice}`);
}

function test() {
  console.log('— tests');
  const folder = mkdtempSync(join(tmpdir(), 'whylight-test-'));
  const report = join(folder, 'report.json');
  try {
    const { status } = spawnSync(
      process.execPath,
      [
        'node_modules/vitest/vitest.mjs',
        'run',
        '--reporter=default',
        '--reporter=json',
        `--outputFile.json=${report}`,
      ].concat(process.argv.slice(2)),
      { stdio: 'inherit', env: { ...process.env, CHROME_PATH: chromium } },
    );
    if (!existsSync(report)) return { passed: 0, failed: 1, skipped: 0 };
    const counts = JSON.parse(readFileSync(report, 'utf8'));
    // a file that cannot even be loaded has no tests to count, and an error outside of any test fails the run all the same
    const unloaded = counts.testResults.filter(
      (file) => file.status === 'failed' && file.assertionResults.length === 0,
    ).length;
    const failed = counts.numFailedTests + unloaded;
    return {
      passed: counts.numPassedTests,
      failed: failed === 0 && status !== 0 ? 1 : failed,
      skipped: counts.numPendingTests + counts.numTodoTests,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a command with its output shown; true when it succeeded. */
function run(what, command, args) {
  console.log(`— ${what}: ${command} ${args.join(' ')}`);
  const { status } = spawnSync(command, args, { stdio: 'inherit', shell: process.platform === 'win32' });
  return status === 0;
}

function step(what, command, args) {
  if (!run(what, command, args)) stop(`${command} ${args.join(' ')} failed; nothing was tested.`);
}

function stop(sentence) {
  console.error(sentence);
  console.log('0 passed, 1 failed');
  process.exit(1);
}
