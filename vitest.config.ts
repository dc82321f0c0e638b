import { defineConfig } from 'vitest/config';

// Every test runs in Node. Those under test/browser drive a real Chromium against the built files in dist/, so they build
// first and run one file at a time: a browser with a software GPU wants the whole machine.
export default defineConfig({
  test: {
    watch: false,
    projects: [
      {
        test: {
          name: 'node',
          environment: 'node',
          include: ['test/{node,reference}/**/*.test.ts'],
          setupFiles: 'test/seed.ts',
          testTimeout: 60_000,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'browser',
          environment: 'node',
          include: ['test/browser/**/*.test.ts'],
          globalSetup: 'test/browser/build.ts',
          testTimeout: 120_000,
          hookTimeout: 60_000,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
