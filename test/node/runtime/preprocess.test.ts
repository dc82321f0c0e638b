import { describe, expect, test } from 'vitest';
import {
  channelRanges,
  type Fit,
  type ModelMetadata,
  pictureInput,
  resolveMetadata,
} from '../../../sdk/runtime/metadata.js';
import {
  descent,
  drawTransform,
  fitGeometry,
  pixelsToTensor,
  type Size,
  toInput,
  toPicture,
} from '../../../sdk/runtime/preprocess.js';

const square = { width: 100, height: 100 };

describe('the geometry of the fit', () => {
  const wide = { width: 400, height: 200 };

  test('letterbox shows all of the picture with equal borders', () => {
    expect(fitGeometry(wide, square, 'letterbox')).toEqual({ scaleX: 0.25, scaleY: 0.25, offsetX: 0, offsetY: 25 });
  });

  test('crop fills the input and cuts equally', () => {
    expect(fitGeometry(wide, square, 'crop')).toEqual({ scaleX: 0.5, scaleY: 0.5, offsetX: -50, offsetY: 0 });
  });

  test('stretch maps corner to corner', () => {
    expect(fitGeometry(wide, square, 'stretch')).toEqual({ scaleX: 0.25, scaleY: 0.5, offsetX: 0, offsetY: 0 });
  });

  test('there and back again is where one was', () => {
    for (const fit of ['letterbox', 'crop', 'stretch'] as const) {
      const geometry = fitGeometry({ width: 313, height: 977 }, { width: 224, height: 160 }, fit);
      const [x, y] = toPicture(geometry, ...toInput(geometry, 17.5, 800.25));
      expect(x).toBeCloseTo(17.5, 9);
      expect(y).toBeCloseTo(800.25, 9);
    }
  });

  test('the middle of the picture is the middle of the input', () => {
    for (const fit of ['letterbox', 'crop', 'stretch'] as const) {
      expect(toInput(fitGeometry(wide, square, fit), 200, 100)).toEqual([50, 50]);
    }
  });
});

describe('drawing turns the decoded picture upright', () => {
  const shown = { width: 60, height: 40 };
  const fit = fitGeometry(shown, { width: 120, height: 120 }, 'letterbox');
  const draw = (rotation: 0 | 90 | 180 | 270, x: number, y: number) => {
    const [a, b, c, d, e, f] = drawTransform(fit, shown, rotation);
    return [a * x + c * y + e, b * x + d * y + f];
  };
  // where the corner of the decoded picture at (0, 0), and the one to its right, are seen
  const corners = {
    0: [toInput(fit, 0, 0), toInput(fit, 60, 0)],
    90: [toInput(fit, 60, 0), toInput(fit, 60, 40)],
    180: [toInput(fit, 60, 40), toInput(fit, 0, 40)],
    270: [toInput(fit, 0, 40), toInput(fit, 0, 0)],
  } as const;

  test.each([0, 90, 180, 270] as const)('%i°', (rotation) => {
    const decodedWidth = rotation === 90 || rotation === 270 ? 40 : 60;
    expect(draw(rotation, 0, 0)).toEqual(corners[rotation][0]);
    expect(draw(rotation, decodedWidth, 0)).toEqual(corners[rotation][1]);
  });
});

describe('a large picture is halved until it is less than twice as large', () => {
  const sizesOf = (width: number, height: number, input: Size, fit: Fit) => {
    const { sizes, scaleX, scaleY } = descent(
      { width, height },
      { width, height },
      fitGeometry({ width, height }, input, fit),
    );
    return [
      sizes
        .slice(1)
        .map((size) => `${size.width}×${size.height}`)
        .join(' '),
      scaleX,
      scaleY,
    ];
  };
  const input = { width: 100, height: 100 };

  test.each([
    [100, 100, 'stretch', '', 1, 1],
    [199, 50, 'stretch', '', 100 / 199, 2],
    [200, 100, 'stretch', '100×100', 1, 1],
    [1000, 300, 'stretch', '500×150 250×150 125×150', 0.8, 2 / 3],
    [403, 403, 'letterbox', '201×201 100×100', 400 / 403, 400 / 403],
    [1, 5000, 'stretch', '1×2500 1×1250 1×625 1×312 1×156', 100, 0.64],
  ] as const)('%i×%i, %s', (width, height, fit, steps, scaleX, scaleY) => {
    const [sizes, x, y] = sizesOf(width, height, input, fit);
    expect(sizes).toBe(steps);
    expect(x).toBeCloseTo(scaleX, 12);
    expect(y).toBeCloseTo(scaleY, 12);
  });

  test('a border is mixed with the picture where its edge cuts through a pixel', () => {
    const input = pictureInput(
      resolveMetadata({ input: { range: [0, 255], pad: [100, 0, 0] } }, [
        { name: 'x', type: 'float32', dims: [1, 3, 2, 2] },
      ]),
    );
    // 2×1 pixels, all white, in the middle of 2×2: half a pixel of border above, half of it below
    const fit = fitGeometry({ width: 2, height: 1 }, input, 'letterbox');
    const tensor = new Float32Array(12);
    const way = descent({ width: 2, height: 1 }, { width: 2, height: 1 }, fit);
    pixelsToTensor(way, fit, input)(new Uint8ClampedArray(8).fill(255), tensor);
    expect([...tensor]).toEqual([177.5, 177.5, 177.5, 177.5, 127.5, 127.5, 127.5, 127.5, 127.5, 127.5, 127.5, 127.5]);
  });
});

describe('pixels become a tensor', () => {
  // two pixels: (10, 20, 30) and (0, 128, 255)
  const pixels = Uint8ClampedArray.of(10, 20, 30, 255, 0, 128, 255, 255);
  const tensorOf = (input: NonNullable<ModelMetadata['input']>, dims: readonly number[]) => {
    const resolved = pictureInput(resolveMetadata({ input }, [{ name: 'x', type: 'float32', dims }]));
    const tensor = new Float32Array(dims.reduce((a, b) => a * b, 1));
    // a picture of the input's own size
    const fit = { scaleX: 1, scaleY: 1, offsetX: 0, offsetY: 0 };
    pixelsToTensor(descent(resolved, resolved, fit), fit, resolved)(pixels, tensor);
    return [...tensor].map((value) => Math.round(value * 1e4) / 1e4);
  };

  test('NCHW, RGB, 0…255', () => {
    expect(tensorOf({ range: [0, 255] }, [1, 3, 1, 2])).toEqual([10, 0, 20, 128, 30, 255]);
  });

  test('NHWC', () => {
    expect(tensorOf({ range: [0, 255], layout: 'NHWC' }, [1, 1, 2, 3])).toEqual([10, 20, 30, 0, 128, 255]);
  });

  test('BGR, with mean and std in its own order of channels', () => {
    expect(tensorOf({ range: [0, 255], colour: 'BGR', mean: [30, 20, 10], std: [1, 2, 5] }, [1, 3, 1, 2])).toEqual([
      0, 225, 0, 54, 0, -2,
    ]);
  });

  test('GRAY is Rec. 601 luma', () => {
    expect(tensorOf({ range: [0, 255] }, [1, 1, 1, 2])).toEqual([18.15, 104.206]);
  });

  test('a range of −1…1', () => {
    expect(tensorOf({ range: [-1, 1] }, [1, 3, 1, 2]).slice(-1)).toEqual([1]);
    expect(tensorOf({ range: [-1, 1] }, [1, 3, 1, 2])[1]).toBe(-1);
  });

  test('what each channel can reach is what black and white become', () => {
    const input = pictureInput(
      resolveMetadata({ input: { mean: [0.5, 0, 0], std: [0.5, 1, -1] } }, [
        { name: 'x', type: 'float32', dims: [1, 3, 2, 2] },
      ]),
    );
    expect(channelRanges(input)).toEqual([
      [-1, 0, -1],
      [1, 1, -0],
    ]);
  });
});
