import { expose } from 'comlink';
import { compileExplanation } from '../sdk/lrp/compile.js';
import { createDrawer } from '../sdk/render/drawer.js';
import { createExplainerWorker } from '../sdk/runtime/explainer-worker.js';
import { keepErrorClasses } from '../sdk/runtime/protocol.js';
import { watchWasmMemory } from '../sdk/runtime/wasm-memory.js';

watchWasmMemory();
keepErrorClasses();
expose(createExplainerWorker(compileExplanation, createDrawer));
