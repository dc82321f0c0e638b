import { describe, expect, test } from 'vitest';
import { declaredLength, fileKind } from '../../../sdk/sources/file-kind.js';

const bytes = (...parts: (string | readonly number[])[]): Uint8Array =>
  Uint8Array.from(
    parts.flatMap((part) => (typeof part === 'string' ? [...part].map((c) => c.charCodeAt(0)) : [...part])),
  );

describe('fileKind', () => {
  test.each([
    [bytes('RIFF', [0, 0, 0, 0], 'AVI LIST'), 'an AVI file', true],
    [bytes('RIFF', [0, 0, 0, 0], 'WAVEfmt '), 'a WAVE sound file', false],
    [bytes([0, 0, 0, 32], 'ftypisom'), 'an MP4 or QuickTime file', true],
    [bytes([0, 0, 0, 32], 'ftypavif'), 'an AVIF picture', false],
    [bytes([0x1a, 0x45, 0xdf, 0xa3, 1]), 'a Matroska or WebM file', true],
    [bytes([0x47], Array(187).fill(0), [0x47]), 'an MPEG transport stream', true],
    [bytes([0, 0, 1, 0xba]), 'an MPEG program stream', true],
    [bytes([0xff, 0xd8, 0xff, 0xe0]), 'a JPEG picture or motion JPEG', true],
    [bytes([0x89], 'PNG\r\n'), 'a PNG picture', false],
    [bytes('\n <!DOCTYPE html>\n<title>404'), 'an HTML page', false],
    [bytes([0xef, 0xbb, 0xbf], '<html lang=en>'), 'an HTML page', false],
    [bytes('<?xml version="1.0"?>'), 'an XML or SVG document', false],
    [bytes('{"error":"no such file"}'), 'a JSON document', false],
    [bytes('version https://git-lfs.github.com/spec/v1\n'), 'plain text', false],
    [bytes('%PDF-1.7'), 'a PDF document', false],
    [bytes(), 'an empty file', false],
  ])('%# %s', (head, name, video) => {
    expect(fileKind(head)).toEqual({ name, video });
  });

  test('says nothing about bytes that it does not know', () => {
    expect(fileKind(bytes([1, 2, 3, 250, 0, 7]))).toBeUndefined();
  });
});

describe('declaredLength', () => {
  const of = (file: Uint8Array) => declaredLength(async (start, end) => file.slice(start, end), file.length);
  const box = (type: string, size: number, body = size - 8): Uint8Array =>
    bytes([0, 0, size >> 8, size & 255], type, Array(body).fill(0));

  test('AVI: eight more than the RIFF chunk says', async () => {
    expect(await of(bytes('RIFF', [0x10, 0x27, 0, 0], 'AVI '))).toBe(10_008);
    expect(await of(bytes('RIFF', [0, 0, 0, 0], 'AVI '))).toBeUndefined();
  });

  test('MP4: the end of the last box, complete or not', async () => {
    const whole = bytes([...box('ftyp', 24)], [...box('moov', 100)], [...box('mdat', 1000)]);
    expect(await of(whole)).toBe(1124);
    expect(await of(whole.slice(0, 700))).toBe(1124);
    const large = bytes([...box('ftyp', 16)], [0, 0, 0, 1], 'mdat', [0, 0, 0, 1, 0, 0, 0, 0], [9, 9]);
    expect(await of(large)).toBe(16 + 2 ** 32);
    const open = bytes([...box('ftyp', 16)], [0, 0, 0, 0], 'mdat', [1, 2, 3]);
    expect(await of(open)).toBe(open.length);
  });

  test('Matroska: the end of the segment, where its size is known', async () => {
    const header = [0x1a, 0x45, 0xdf, 0xa3, 0x84, 1, 2, 3, 4];
    const segment = [0x18, 0x53, 0x80, 0x67];
    const rest = Array(60).fill(0);
    expect(await of(bytes(header, segment, [0x01, 0, 0, 0, 0, 0, 0x10, 0x00], rest))).toBe(9 + 4 + 8 + 4096);
    expect(await of(bytes(header, segment, [0x01, 255, 255, 255, 255, 255, 255, 255], rest))).toBeUndefined();
  });

  test('of what has no length it says nothing', async () => {
    expect(await of(bytes([0x47, 1, 2, 3]))).toBeUndefined();
  });
});
