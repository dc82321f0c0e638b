import { describe, expect, it } from 'vitest';
import { floatsOf, numbersOf, tensorOf } from '../../../sdk/graph/tensors.js';

describe('tensors as numbers', () => {
  it('reads every float16 and writes it back', () => {
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const half = { type: 'float16' as const, dims: [65536], bytes: new Uint8Array(bits.buffer) };
    const numbers = numbersOf(half);
    const again = new Uint16Array(tensorOf('float16', [65536], numbers).bytes.buffer);
    for (let i = 0; i < 65536; i++) if (!Number.isNaN(numbers[i])) expect(again[i]).toBe(i);
    expect(numbers[0x3555]).toBeCloseTo(1 / 3, 3);
    expect(numbers[0x7c00]).toBe(Number.POSITIVE_INFINITY);
    expect(numbers[1]).toBe(2 ** -24);
  });

  it('rounds float16 to the nearest, ties to even', () => {
    const step = 2 ** -10;
    const values = [1 + step / 2, 1 + 1.5 * step, 1 + 0.75 * step, 2 - step / 4, 65519, 65520, -1e-9, 2 ** -25 * 3];
    const found = [...numbersOf(tensorOf('float16', [values.length], values))];
    expect(found).toEqual([1, 1 + 2 * step, 1 + step, 2, 65504, Number.POSITIVE_INFINITY, -0, 2 ** -23]);
  });

  it('saturates 64-bit integers at both ends, and writes the ends back', () => {
    const ends = BigInt64Array.of(2n ** 63n - 1n, -(2n ** 63n), -5n);
    const numbers = numbersOf({ type: 'int64', dims: [3], bytes: new Uint8Array(ends.buffer) });
    expect([...numbers]).toEqual([2 ** 53, -(2 ** 53), -5]);
    expect([...new BigInt64Array(tensorOf('int64', [3], numbers).bytes.buffer)]).toEqual([...ends]);
  });

  it('gives float32 as a view where it is aligned, else as a copy', () => {
    const file = new Uint8Array(13);
    file.set(new Uint8Array(Float32Array.of(1.5, -2).buffer), 4);
    const aligned = { type: 'float32' as const, dims: [2], bytes: file.subarray(4, 12) };
    expect(floatsOf(aligned).buffer).toBe(file.buffer);
    file.copyWithin(5, 4, 12);
    const shifted = { type: 'float32' as const, dims: [2], bytes: file.subarray(5, 13) };
    expect([...floatsOf(shifted)]).toEqual([1.5, -2]);
  });

  it('refuses types that are no numbers', () => {
    expect(() => numbersOf({ type: 'string', dims: [0], bytes: new Uint8Array(0) })).toThrow(RangeError);
    expect(() => tensorOf('float32', [2], [1])).toThrow(/1 values do not fill \[2\]/);
  });
});
