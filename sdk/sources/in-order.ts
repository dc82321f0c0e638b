import { EncodedPacketSink, type InputVideoTrack, VideoSample } from 'mediabunny';

/**
 * Codecs whose packets come in the order in which they are shown. Some of their packets show nothing (VP8's alternate
 * references, which are only there to be predicted from), so a picture's time is that of its own packet: counting packets
 * would be wrong.
 */
export const inOrderCodecs: readonly string[] = ['vp8', 'vp9', 'av1'];

/** Packets in the decoder and pictures out of it at one time. */
const ahead = 8;

/** Pictures of a track of one of {@link inOrderCodecs}, and how far its packets have been read. */
export interface InOrder {
  /**
   * the pictures from the key frame at or before `start` on, without their transparency, each with its packet's time; what was
   * decoded before an error is given before the error is thrown
   */
  samples(start: number, end: number): AsyncGenerator<VideoSample, void, undefined>;
  /** seconds of presentation time of the last packet that was read */
  readonly reached: number;
}

/** Decodes with nothing between the packets and the browser's decoder. */
export function inOrder(track: InputVideoTrack): InOrder {
  let reached = Number.NEGATIVE_INFINITY;
  return {
    get reached() {
      return reached;
    },
    async *samples(start, end) {
      const config = await track.getDecoderConfig();
      const rotation = await track.getRotation();
      const flip = await track.getFlip();
      if (config === null) throw new Error('The track has no decoder configuration.');
      const pictures: VideoFrame[] = [];
      // a chunk's time is in whole microseconds, a packet's is exact
      const times = new Map<number, number>();
      let failure: { readonly error: unknown } | undefined;
      let wake: (() => void) | undefined;
      const decoder = new VideoDecoder({
        output: (picture) => {
          pictures.push(picture);
          wake?.();
        },
        error: (error) => {
          failure ??= { error };
          wake?.();
        },
      });
      decoder.ondequeue = () => wake?.();
      const sink = new EncodedPacketSink(track);
      const first =
        (await sink.getKeyPacket(start, { verifyKeyPackets: true })) ??
        (await sink.getFirstKeyPacket({ verifyKeyPackets: true }));
      const packets = sink.packets(first ?? undefined, undefined, { verifyKeyPackets: true });
      let reading = first !== null;
      let flushing = false;
      let flushed = false;
      try {
        decoder.configure({ ...config, alpha: 'discard' } as VideoDecoderConfig);
        while (true) {
          const picture = pictures.shift();
          if (picture !== undefined) {
            yield new VideoSample(picture, {
              timestamp: times.get(picture.timestamp) ?? picture.timestamp / 1e6,
              rotation,
              flip,
            });
            continue;
          }
          if (failure !== undefined) throw failure.error;
          if (flushed) return;
          if (reading && decoder.decodeQueueSize < ahead) {
            const step = await packets.next().catch((error: unknown) => {
              failure ??= { error };
              return undefined;
            });
            if (step === undefined) continue;
            if (step.done === true || step.value.timestamp >= end) {
              reading = false;
              continue;
            }
            reached = Math.max(reached, step.value.timestamp);
            const chunk = step.value.toEncodedVideoChunk();
            times.set(chunk.timestamp, step.value.timestamp);
            if (decoder.state === 'configured') decoder.decode(chunk);
            continue;
          }
          const change = new Promise<void>((resolve) => {
            wake = resolve;
          });
          if (!reading && !flushing && decoder.state === 'configured') {
            flushing = true;
            decoder.flush().then(
              () => {
                flushed = true;
                wake?.();
              },
              (error: unknown) => {
                failure ??= { error };
                wake?.();
              },
            );
          }
          await change;
        }
      } finally {
        void packets.return();
        if (decoder.state !== 'closed') decoder.close();
        for (const picture of pictures) picture.close();
      }
    },
  };
}
