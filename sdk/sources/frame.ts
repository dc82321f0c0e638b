/**
 * What everything has that a source gives, one after the other. Whoever receives it owns it and calls {@link TimedFrame.close}
 * exactly once, unless it is handed on.
 */
export interface TimedFrame {
  /** presentation time in microseconds; for live sources, microseconds of the page's clock */
  readonly timestamp: number;
  /** duration in microseconds, undefined where the source does not know it */
  readonly duration?: number;
  /** time of capture on `performance.now()`'s clock in milliseconds (for files: when this frame was asked for) */
  readonly captured: number;
  /** number of frames that a live source dropped since the one before */
  readonly dropped: number;
  /** releases its memory; further calls do nothing */
  close(): void;
}

/** One picture of a stream. `image` is as decoded; `rotation`, `width` and `height` say how it is shown. */
export interface Frame extends TimedFrame {
  /** width at which the picture is shown, in pixels, after rotation and pixel aspect */
  readonly width: number;
  /** height at which the picture is shown, in pixels, after rotation and pixel aspect */
  readonly height: number;
  /** clockwise degrees by which the decoded picture is turned to be shown upright */
  readonly rotation: 0 | 90 | 180 | 270;
  /** the decoded picture, not yet turned */
  readonly image: VideoFrame | ImageBitmap;
}

/** A stream of frames plus what is known about it; `kind` decides the flow: live sources drop, files wait. */
export interface SourceInfo {
  /** live sources drop frames that nobody waits for, files lose none */
  readonly kind: 'live' | 'file';
  /** seconds of presentation time at which the last frame ends, undefined for live sources and where a file does not say */
  readonly duration?: number;
  /** width of the shown picture in pixels, undefined before it is known */
  readonly width?: number;
  /** height of the shown picture in pixels, undefined before it is known */
  readonly height?: number;
  /** of windows of sound, samples a second */
  readonly sampleRate?: number;
  /** what decodes: `webcodecs`, `ffmpeg`, `camera`, `screen`, `images`, `microphone` */
  readonly decoder: 'webcodecs' | 'ffmpeg' | 'camera' | 'screen' | 'images' | 'microphone';
}
