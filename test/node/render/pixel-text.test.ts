import { expect, it } from 'vitest';
import { textSize, writeText } from '../../../sdk/render/pixel-text.js';

/** What was written, as rows of `#` and `.`. */
function written(text: string, { x = 0, y = 0, size = 1, width = 11, height = 7 } = {}): string[] {
  const data = new Uint8ClampedArray(4 * width * height).fill(255);
  writeText({ width, height, data }, text, x, y, { size });
  return Array.from({ length: height }, (_, row) =>
    Array.from({ length: width }, (_, column) => (data[4 * (row * width + column)] === 0 ? '#' : '.')).join(''),
  );
}

it('writes letters and figures', () => {
  expect(written('a1')).toEqual([
    '.###....#..',
    '#...#..##..',
    '#...#...#..',
    '#####...#..',
    '#...#...#..',
    '#...#...#..',
    '#...#..###.',
  ]);
});

it('writes larger, and cuts off what does not fit', () => {
  expect(textSize('a1')).toEqual({ width: 11, height: 7 });
  expect(textSize('a1', 3)).toEqual({ width: 33, height: 21 });
  const [first, second] = written('l', { size: 2, x: -1, y: -2, width: 4, height: 2 });
  expect([first, second]).toEqual(['#...', '#...']);
});

it('writes a question mark for what it has no letter for', () => {
  expect(written('漢')).toEqual(written('?'));
});
