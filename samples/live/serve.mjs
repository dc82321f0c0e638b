// `npm start`: installs packages where they are missing, builds, and serves the live page on this computer only.
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { contentSecurityPolicy, isolation, serveStatic } from './static-server.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
process.chdir(root);

const [major = 0] = process.versions.node.split('.').map(Number);
if (major < 20) stop(`Whylight needs Node 20 or newer; this is Node ${process.versions.node}.`);

const installed = join('node_modules', '.package-lock.json');
if (!existsSync(installed) || statSync(installed).mtimeMs < statSync('package-lock.json').mtimeMs) {
  run('npm', ['ci', '--no-audit', '--no-fund']);
}
run(process.execPath, ['esbuild.config.mjs']);

const port = Number(process.env.PORT ?? 4173);
try {
  const { origin } = await serveStatic({
    mounts: { '/': join(root, 'dist', 'live') },
    headers: () => ({ 'Content-Security-Policy': contentSecurityPolicy, ...isolation }),
    port,
  });
  console.log(`Whylight is at ${origin}/ — stop it with Ctrl+C.`);
} catch (error) {
  stop(
    error.code === 'EADDRINUSE'
      ? `Port ${port} is in use by another program; choose one with PORT=4174 npm start.`
      : `The server did not start: ${error.message}`,
  );
}

function run(command, args) {
  const { status } = spawnSync(command, args, { stdio: 'inherit', shell: process.platform === 'win32' });
  if (status !== 0) stop(`${command} ${args.join(' ')} failed.`);
}

function stop(sentence) {
  console.error(sentence);
  process.exit(1);
}
