/** One `showinfo` line and the line of colour that follows it. */
export interface LoggedFrame {
  /** presentation time in microseconds from the container's start; undefined where the stream has none */
  readonly timestamp: number | undefined;
  readonly width: number;
  readonly height: number;
  /** pixel aspect ratio, width / height; 1 where unknown */
  readonly pixelAspect: number;
  /** ffmpeg's name of the pixel format */
  readonly format: string;
  /** the matrix by which YUV becomes RGB, in ffmpeg's names; `unknown` where the stream does not say */
  readonly colourSpace: string;
  readonly primaries: string;
  readonly transfer: string;
}

/** What ffmpeg says about the file before it begins. */
export interface LoggedInput {
  /** seconds, undefined where unknown */
  readonly duration: number | undefined;
  /** the container's first timestamp in seconds, which `-start_at_zero` takes off */
  readonly start: number;
  /** ffmpeg's name of the video codec, undefined without a video stream */
  readonly codec: string | undefined;
  readonly audio: boolean;
  /** frames per second, undefined where unknown */
  readonly frameRate: number | undefined;
}

/** Reads the banner that ffmpeg prints for its input. */
export function parseInput(log: readonly string[]): LoggedInput {
  let duration: number | undefined;
  let start = 0;
  let codec: string | undefined;
  let audio = false;
  let frameRate: number | undefined;
  for (const line of log) {
    if (line.startsWith('Output #')) break;
    const time = /^\s*Duration: (?:N\/A|(\d+):(\d+):(\d+(?:\.\d+)?))(?:, start: (-?[\d.]+))?/.exec(line);
    if (time !== null) {
      if (time[1] !== undefined) duration = Number(time[1]) * 3600 + Number(time[2]) * 60 + Number(time[3]);
      if (time[4] !== undefined) start = Number(time[4]);
    }
    const stream = /^\s*Stream #0:\d+.*?: (Video|Audio): (\w+)/.exec(line);
    if (stream?.[1] === 'Audio') audio = true;
    if (stream?.[1] === 'Video' && codec === undefined && !line.includes('(attached pic)')) {
      codec = stream[2];
      const rate = /, ([\d.]+)(k?) (?:fps|tbr)\b/.exec(line);
      if (rate !== null) frameRate = Number(rate[1]) * (rate[2] === 'k' ? 1000 : 1);
    }
  }
  return { duration, start, codec, audio, frameRate };
}

/** Reads the frames that the `showinfo` filter printed, in their order. */
export function parseFrames(log: readonly string[]): readonly LoggedFrame[] {
  const frames: LoggedFrame[] = [];
  let timeBase: readonly [numerator: number, denominator: number] | undefined;
  for (const line of log) {
    if (!line.startsWith('[Parsed_showinfo')) continue;
    const base = /config in time_base: (\d+)\/(\d+)/.exec(line);
    if (base !== null) timeBase = [Number(base[1]), Number(base[2])];
    const frame = /\bn:\s*\d+ pts:\s*(-?\d+|NOPTS) .*?fmt:(\S+) .*?sar:(\d+)\/(\d+) s:(\d+)x(\d+)/.exec(line);
    if (frame !== null) {
      const aspect = Number(frame[3]) / Number(frame[4]);
      frames.push({
        timestamp:
          frame[1] === 'NOPTS' || timeBase === undefined
            ? undefined
            : Math.round((Number(frame[1]) * timeBase[0] * 1e6) / timeBase[1]),
        width: Number(frame[5]),
        height: Number(frame[6]),
        pixelAspect: Number.isFinite(aspect) && aspect > 0 ? aspect : 1,
        format: frame[2]!,
        colourSpace: 'unknown',
        primaries: 'unknown',
        transfer: 'unknown',
      });
    }
    const colour = /color_space:(\S+) color_primaries:(\S+) color_trc:(\S+)/.exec(line);
    const last = frames.at(-1);
    if (colour !== null && last !== undefined) {
      frames[frames.length - 1] = {
        ...last,
        colourSpace: colour[1]!,
        primaries: colour[2]!,
        transfer: colour[3]!,
      };
    }
  }
  return frames;
}

/** The first line in which ffmpeg complains about the file's data; undefined where it read all of it. */
export function firstComplaint(log: readonly string[]): string | undefined {
  return log.find((line) =>
    /corrupt|truncat|partial file|invalid data|error while decoding|moov atom not found|header missing|concealing/i.test(
      line,
    ),
  );
}
