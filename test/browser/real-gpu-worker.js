import './real-gpu.js';
import '/dist/workers/explainer.js';
