import { type Explanation, shownSize } from '../../../sdk/runtime/explanation.js';
import type { Frame, SourceInfo } from '../../../sdk/sources/frame.js';
import type { MediaFrame } from '../../../sdk/sources/sound-window.js';
import type { FrameSource } from '../../../sdk/sources/source.js';

/** A frame without a picture that counts how often it is closed. */
export interface FakeFrame extends Frame {
  closes: number;
}

/** Frames 0, 1, 2 …, 40 ms apart. */
export function fakeFrame(index: number, more: Partial<Frame> = {}): FakeFrame {
  const frame: FakeFrame = {
    timestamp: index * 40_000,
    duration: 40_000,
    captured: index * 40,
    width: 640,
    height: 480,
    rotation: 0,
    dropped: 0,
    image: { clone: () => ({ close: () => undefined }) } as unknown as VideoFrame,
    closes: 0,
    close() {
      frame.closes++;
    },
    ...more,
  };
  return frame;
}

/** What an explainer would say about the frame; `frame.timestamp` tells which one it was. */
export function fakeExplanation(frame: MediaFrame): Explanation {
  const { timestamp, captured, dropped } = frame;
  return {
    timestamp,
    captured,
    frame: shownSize(frame),
    outputs: {},
    topK: [],
    target: { weights: new Float32Array(), indices: [], labels: [] },
    logit: 0,
    relevance: {},
    fit: { scaleX: 1, scaleY: 1, offsetX: 0, offsetY: 0 },
    timing: { drawing: 0, preprocess: 0, inference: 0, readback: 0, queue: 0, total: 0 },
    age: 0,
    device: 'wasm',
    dropped,
    release: () => undefined,
  };
}

/** A source that gives the frames one after the other and records what is done to it. */
export function fakeSource(kind: SourceInfo['kind'], frames: readonly Frame[], failure?: Error) {
  const state = { pulled: 0, returned: 0, aborted: false };
  const source: Pick<FrameSource, 'info' | 'frames'> = {
    info: { kind, decoder: 'images' },
    async *frames({ signal } = {}) {
      signal?.addEventListener('abort', () => {
        state.aborted = true;
      });
      try {
        for (const frame of frames) {
          state.pulled++;
          yield frame;
        }
        if (failure !== undefined) throw failure;
      } finally {
        state.returned++;
      }
    },
  };
  return { source, state };
}

/** Lets every promise that is already settled run its continuations. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}
