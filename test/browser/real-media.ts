import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ALL_FORMATS, BufferSource, EncodedPacketSink, Input } from 'mediabunny';
import type { Page } from 'playwright-core';

const project = resolve(import.meta.dirname, '../..');
/** Clips that lie beside the project, not in it; tests that want them skip where they are absent. */
const beside = resolve(project, '../shared/real');

/** Where a clip is, by a path in the project or in the folder beside it; undefined where there is none. */
export function findMedia(path: string): string | undefined {
  return [join(project, path), join(beside, path)].find((candidate) => existsSync(candidate));
}

/** What a container says of its video, read in Node: the expectation for what a browser decodes. */
export interface Expected {
  /** presentation times in microseconds, in their order */
  readonly timestamps: readonly number[];
  readonly width: number;
  readonly height: number;
  readonly rotation: number;
}

/** Reads the packets of a file's video track that show something, without decoding anything. */
export async function packetsOf(file: string): Promise<Expected> {
  const input = new Input({ formats: ALL_FORMATS, source: new BufferSource(readFileSync(file)) });
  const track = await input.getPrimaryVideoTrack();
  if (track === null) throw new Error(`${file} has no video.`);
  const timestamps: number[] = [];
  const codec = await track.getCodec();
  for await (const packet of new EncodedPacketSink(track).packets()) {
    // RFC 6386, 9.1: bit 4 of a VP8 frame's first byte says whether it is shown at all
    if (codec === 'vp8' && (packet.data[0]! & 0x10) === 0) continue;
    timestamps.push(Math.round(packet.timestamp * 1e6));
  }
  return {
    timestamps: timestamps.sort((a, b) => a - b),
    width: await track.getDisplayWidth(),
    height: await track.getDisplayHeight(),
    rotation: await track.getRotation(),
  };
}

/** Lets a page fetch a file from this machine under an address of its own server. */
export async function serveFile(page: Page, address: string, body: Buffer): Promise<void> {
  await page.route(`**${address}`, (route) => route.fulfill({ body, contentType: 'application/octet-stream' }));
}
