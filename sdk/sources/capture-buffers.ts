/**
 * The buffers into which a browser captures one device. Where pictures lie in ordinary memory, Chromium has three for a camera, and
 * gives no further picture while pages hold two of them: one that is being explained and one that waits for it are enough for all
 * streams of the camera to stand still until one of the two is closed, and the one that waits grows old.
 */
export interface CaptureBuffers {
  /**
   * Takes a captured picture over. Only one of those that are out stays where it was captured; every other one is copied, and its buffer goes
   * back at once.
   */
  take(image: VideoFrame): Promise<Kept>;
}

/** A picture that was taken over, to be closed. */
export interface Kept {
  readonly image: VideoFrame;
  /**
   * Tells that the picture has been closed, or, where that has been done by handing it to another thread, that nobody here has it any more.
   * Idempotent.
   */
  returned(): void;
}

const ofDevices = new Map<string, CaptureBuffers>();

/** The buffers of a device, which all of its sources and streams share; of a track without a device its own. */
export function captureBuffersOf(track: MediaStreamTrack): CaptureBuffers {
  const { deviceId } = track.getSettings();
  if (deviceId === undefined) return createCaptureBuffers();
  const known = ofDevices.get(deviceId) ?? createCaptureBuffers();
  ofDevices.set(deviceId, known);
  return known;
}

function createCaptureBuffers(): CaptureBuffers {
  let out = 0;
  return {
    async take(image) {
      const copy = out === 0 ? undefined : await copyOf(image);
      if (copy !== undefined) return { image: copy, returned() {} };
      out++;
      let isOut = true;
      return {
        image,
        returned() {
          if (isOut) out--;
          isOut = false;
        },
      };
    },
  };
}

/**
 * The same picture in memory of its own; the given one is closed. Undefined, and nothing is closed, where it cannot be copied, or need not be:
 * pictures on the GPU (NV12) come out of ten buffers or more, and would have to be read back.
 */
async function copyOf(image: VideoFrame): Promise<VideoFrame | undefined> {
  const { format, visibleRect, displayWidth, displayHeight, timestamp, duration, colorSpace } = image;
  const { rotation, flip } = image as { rotation?: number; flip?: boolean };
  // a browser that does not tell how a picture is turned turns it by itself, but not its copy
  if (format !== 'I420' || visibleRect === null || rotation === undefined) return undefined;
  try {
    const bytes = new ArrayBuffer(image.allocationSize());
    const layout = await image.copyTo(bytes);
    const init = {
      format,
      layout,
      codedWidth: visibleRect.width,
      codedHeight: visibleRect.height,
      displayWidth,
      displayHeight,
      timestamp,
      ...(duration === null ? {} : { duration }),
      colorSpace: colorSpace.toJSON(),
      rotation,
      flip,
      // else the bytes would be copied once more
      transfer: [bytes],
    };
    const copy = new VideoFrame(bytes, init);
    image.close();
    return copy;
  } catch {
    return undefined;
  }
}
