import './faulty-gpu.js';
import '/dist/workers/explainer.js';
