import { execFileSync } from 'node:child_process';

/** Brings dist/ up to date before the first browser test, so that a test never runs against yesterday's build. */
export function setup(): void {
  execFileSync(process.execPath, ['esbuild.config.mjs'], { stdio: 'inherit' });
}
