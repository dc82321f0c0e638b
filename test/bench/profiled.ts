// Runs one model and prints the runtime's own profile of it: profiled.mjs FILE FEEDS RUNS
import { readFileSync } from 'node:fs';
import * as ort from 'onnxruntime-web/wasm';
import { feedsOf } from './timing.js';

const [file = '', feeds = '[]', runs = '1'] = process.argv.slice(2);
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(file)), {
  executionProviders: ['wasm'],
  logSeverityLevel: 3,
  enableProfiling: true,
});
const inputs = feedsOf(ort, JSON.parse(feeds));
for (let run = 0; run < Number(runs); run++) await session.run(inputs);
session.endProfiling();
