/**
 * What a model expects of a picture and what its outputs mean: the small JSON next to a model file (`glyphs.onnx` → `glyphs.json`),
 * or the same object given as an option. Every field has the default of an RGB classifier on 0…1 pixels.
 */
export interface ModelMetadata {
  /** what the model is called, for display */
  readonly name?: string;
  /** how a picture becomes the input tensor */
  readonly input?: {
    /** input tensor; default the model's first */
    readonly name?: string;
    /** [1, 3, height, width] or, with layout NHWC, [1, height, width, 3] */
    readonly shape?: readonly number[];
    readonly layout?: 'NCHW' | 'NHWC';
    readonly colour?: 'RGB' | 'BGR' | 'GRAY';
    /** how a frame meets the input's size: whole picture with borders, centre cut, or distorted */
    readonly fit?: 'letterbox' | 'crop' | 'stretch';
    /** value of black and of white before mean and std, usually [0, 1] or [0, 255] */
    readonly range?: readonly [low: number, high: number];
    /** per channel in the order of `colour`, in units of `range`: (value − mean) / std */
    readonly mean?: readonly number[];
    readonly std?: readonly number[];
    /** colour of letterbox borders, 0–255 */
    readonly pad?: readonly [r: number, g: number, b: number];
  };
  /** the explained output; default the first */
  readonly output?: string;
  /** one name per element of the explained output */
  readonly labels?: readonly string[];
  /** labels as one printable symbol each, for drawing */
  readonly symbols?: readonly string[];
}
