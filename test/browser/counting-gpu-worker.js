import './counting-gpu.js';
import '/dist/workers/explainer.js';
