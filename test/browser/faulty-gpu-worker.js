import './real-gpu.js';
import './faulty-gpu.js';
import '/dist/workers/explainer.js';
