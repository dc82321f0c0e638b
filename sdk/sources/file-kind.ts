/** What the first bytes of a file say that it is. */
export interface FileKind {
  /** with its article, for a sentence: `an HTML page` */
  readonly name: string;
  /** whether it may hold moving pictures, so that a decoder is worth trying */
  readonly video: boolean;
}

interface Signature extends FileKind {
  /** offset in bytes */
  readonly at: number;
  /** Latin-1 characters that stand there */
  readonly magic: string;
}

const signatures: readonly Signature[] = [
  { at: 8, magic: 'AVI ', name: 'an AVI file', video: true },
  { at: 8, magic: 'WAVE', name: 'a WAVE sound file', video: false },
  { at: 8, magic: 'WEBP', name: 'a WebP picture', video: false },
  { at: 4, magic: 'ftypavif', name: 'an AVIF picture', video: false },
  { at: 4, magic: 'ftypheic', name: 'a HEIC picture', video: false },
  { at: 4, magic: 'ftyp', name: 'an MP4 or QuickTime file', video: true },
  { at: 4, magic: 'moov', name: 'a QuickTime file', video: true },
  { at: 4, magic: 'mdat', name: 'a QuickTime file', video: true },
  { at: 4, magic: 'wide', name: 'a QuickTime file', video: true },
  { at: 0, magic: '\x1aE\xdf\xa3', name: 'a Matroska or WebM file', video: true },
  { at: 0, magic: '0&\xb2u\x8ef\xcf\x11', name: 'a Windows Media (ASF) file', video: true },
  { at: 0, magic: 'FLV\x01', name: 'a Flash Video file', video: true },
  { at: 0, magic: '\x00\x00\x01\xba', name: 'an MPEG program stream', video: true },
  { at: 0, magic: '\x00\x00\x01\xb3', name: 'an MPEG video stream', video: true },
  { at: 0, magic: '.RMF', name: 'a RealMedia file', video: true },
  { at: 0, magic: '\x06\x0e+4\x02\x05\x01\x01', name: 'an MXF file', video: true },
  { at: 0, magic: 'DKIF', name: 'an IVF file', video: true },
  { at: 0, magic: 'YUV4MPEG2', name: 'a YUV4MPEG file', video: true },
  { at: 0, magic: 'OggS', name: 'an Ogg file', video: true },
  { at: 0, magic: '\xff\xd8\xff', name: 'a JPEG picture or motion JPEG', video: true },
  { at: 0, magic: 'GIF8', name: 'a GIF picture', video: true },
  { at: 0, magic: '\x89PNG', name: 'a PNG picture', video: false },
  { at: 0, magic: 'ID3', name: 'an MP3 sound file', video: false },
  { at: 0, magic: 'fLaC', name: 'a FLAC sound file', video: false },
  { at: 0, magic: '%PDF', name: 'a PDF document', video: false },
  { at: 0, magic: 'PK\x03\x04', name: 'a ZIP archive', video: false },
  { at: 0, magic: '\x1f\x8b', name: 'a gzip archive', video: false },
];

/** How many of a file's first bytes {@link fileKind} looks at. */
export const headLength = 1024;

/** What a file is by its first {@link headLength} bytes; undefined where they say nothing. */
export function fileKind(head: Uint8Array): FileKind | undefined {
  if (head.length === 0) return { name: 'an empty file', video: false };
  const latin = String.fromCharCode(...head.subarray(0, headLength));
  const known = signatures.find(({ at, magic }) => latin.startsWith(magic, at));
  if (known !== undefined) return { name: known.name, video: known.video };
  if (head[0] === 0x47 && (head.length <= 188 || head[188] === 0x47)) {
    return { name: 'an MPEG transport stream', video: true };
  }
  // text has no control characters but tab, line feed and carriage return (and form feed)
  if (head.subarray(0, headLength).some((byte) => byte < 9 || (byte > 13 && byte < 32))) return undefined;
  const text = latin.replace(/^\xef\xbb\xbf/, '').trimStart();
  if (/^<(!doctype html|html|head|body|script)\b/i.test(text)) return { name: 'an HTML page', video: false };
  if (/^<(\?xml|svg)\b/i.test(text)) return { name: 'an XML or SVG document', video: false };
  if (/^[[{]/.test(text)) return { name: 'a JSON document', video: false };
  if (text.startsWith('#EXTM3U')) return { name: 'an HLS playlist', video: true };
  return { name: 'plain text', video: false };
}

/**
 * How long a file says that it is, in bytes, by its container's own size fields (RIFF, ISO base media, Matroska with a known
 * segment size); undefined where the container does not say. A file shorter than that has been cut off.
 *
 * @param read gives the bytes [start, end), fewer at the file's end
 */
export async function declaredLength(
  read: (start: number, end: number) => Promise<Uint8Array>,
  size: number,
): Promise<number | undefined> {
  const head = await read(0, 64);
  const kind = fileKind(head);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if ((kind?.name === 'an AVI file' || kind?.name === 'a WAVE sound file') && head.length >= 12) {
    const riff = view.getUint32(4, true);
    // 0 or all ones: written by a recorder that never came back to fill it in
    return riff === 0 || riff === 0xffffffff ? undefined : 8 + riff;
  }
  if (kind?.name === 'a Matroska or WebM file') return segmentEnd(view);
  if (kind?.name === 'an MP4 or QuickTime file' || kind?.name === 'a QuickTime file') return lastBoxEnd(read, size);
  return undefined;
}

/** The end of the last top-level box that begins within the file. */
async function lastBoxEnd(
  read: (start: number, end: number) => Promise<Uint8Array>,
  size: number,
): Promise<number | undefined> {
  let at = 0;
  // a fragmented file has two boxes a fragment; ten thousand of them say nothing that the demuxer does not find out itself
  for (let boxes = 0; boxes < 10_000 && at < size; boxes++) {
    const header = await read(at, at + 16);
    if (header.length < 8) return at + 8;
    const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
    const short = view.getUint32(0);
    if (short === 0) return size; // "to the end of the file"
    if (short === 1 && header.length < 16) return at + 16;
    const length = short === 1 ? Number(view.getBigUint64(8)) : short;
    if (length < 8) return undefined;
    at += length;
  }
  return at;
}

/** EBML: the header element, then the segment with its size; undefined for an unknown size, as live recorders write it. */
function segmentEnd(view: DataView): number | undefined {
  const header = variableInteger(view, 4);
  if (header === undefined) return undefined;
  const segment = 4 + header.length + header.value;
  if (segment + 12 > view.byteLength || view.getUint32(segment) !== 0x18538067) return undefined;
  const size = variableInteger(view, segment + 4);
  if (size === undefined || size.value === 2 ** (7 * size.length) - 1) return undefined;
  return segment + 4 + size.length + size.value;
}

function variableInteger(view: DataView, at: number): { value: number; length: number } | undefined {
  if (at >= view.byteLength) return undefined;
  const first = view.getUint8(at);
  const length = Math.clz32(first) - 23;
  if (length > 8 || at + length > view.byteLength) return undefined;
  let value = first & (0xff >> length);
  for (let i = 1; i < length; i++) value = value * 256 + view.getUint8(at + i);
  return { value, length };
}
