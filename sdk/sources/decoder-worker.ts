import type { Clip, Selection } from './clip.js';
import type { SourceInfo } from './frame.js';
import { sendFrames } from './frame-channel.js';
import { type Opened, openWithWebCodecs } from './webcodecs.js';

/** The file that a worker is to decode. */
export interface DecodeRequest {
  /** a file, or an absolute address */
  readonly from: Blob | string;
  /** what sentences call it */
  readonly name: string;
  readonly selection: Selection;
}

/** How opening went, as plain data. */
export type OpenedInWorker =
  | Exclude<Opened, { readonly outcome: 'decodable' }>
  | { readonly outcome: 'decodable'; readonly info: SourceInfo }
  /** workers of this browser have no decoders */
  | { readonly outcome: 'no-webcodecs' };

/** The worker as the page sees it through Comlink: one file each. */
export interface DecoderWorker {
  open(request: DecodeRequest): Promise<OpenedInWorker>;
  /** Begins an iteration of its own over the port; resolves when it has ended. */
  frames(port: MessagePort): Promise<void>;
}

/** The worker's side of a video file; ending the worker releases all that it holds. */
export function createDecoderWorker(): DecoderWorker {
  let clip: Clip | undefined;
  return {
    async open({ from, name, selection }) {
      if (typeof VideoDecoder === 'undefined') return { outcome: 'no-webcodecs' };
      const opened = await openWithWebCodecs(typeof from === 'string' ? new URL(from) : from, name, selection);
      if (opened.outcome !== 'decodable') return opened;
      clip = opened.clip;
      return { outcome: 'decodable', info: clip.info };
    },
    async frames(port) {
      const { frames } = clip!;
      await sendFrames(port, frames);
    },
  };
}
