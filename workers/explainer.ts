import { expose } from 'comlink';
import { compileExplanation } from '../sdk/lrp/compile.js';
import { createDrawer } from '../sdk/render/drawer.js';
import { createExplainerWorker } from '../sdk/runtime/explainer-worker.js';
import { watchGpuMemory } from '../sdk/runtime/gpu-memory.js';
import { watchWasmMemory } from '../sdk/runtime/wasm-memory.js';
import { keepErrorClasses } from '../sdk/wire-errors.js';

watchWasmMemory();
watchGpuMemory();
keepErrorClasses();
expose(createExplainerWorker(compileExplanation, createDrawer));
