import { expose } from 'comlink';
import { createDecoderWorker } from '../sdk/sources/decoder-worker.js';
import { keepErrorClasses } from '../sdk/wire-errors.js';

keepErrorClasses();
expose(createDecoderWorker());
