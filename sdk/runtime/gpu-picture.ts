import type { PictureInput } from './metadata.js';
import {
  descent,
  type FitGeometry,
  fitGeometry,
  inputChannels,
  inputSteps,
  type Picture,
  type Size,
  uprightSize,
} from './preprocess.js';

/** A picture as a shader reads it; valid until its image is closed. */
export interface GpuSource {
  /** `texture_external` in WGSL, else `texture_2d<f32>` */
  readonly external: boolean;
  /** to be bound */
  readonly resource: GPUExternalTexture | GPUTextureView;
}

/** Where shaders find pictures. */
export interface GpuSources {
  /** The picture's pixels, premultiplied by alpha; the image has to stay open until the GPU has read it. */
  of(image: VideoFrame | ImageBitmap): Promise<GpuSource>;
  /** Gives the GPU's memory back. */
  destroy(): void;
}

/**
 * A `VideoFrame` is read where its decoder left it, as an external texture, without a copy. An `ImageBitmap`, and a frame that
 * the browser cannot import, is copied into a texture once.
 */
export function createGpuSources(device: GPUDevice): GpuSources {
  let texture: GPUTexture | undefined;
  /** false once the browser has refused to import a frame */
  let imports = true;
  return {
    async of(image) {
      const isFrame = typeof VideoFrame !== 'undefined' && image instanceof VideoFrame;
      if (isFrame && imports) {
        try {
          return { external: true, resource: device.importExternalTexture({ source: image }) };
        } catch {
          imports = false;
        }
      }
      const bitmap = isFrame ? await createImageBitmap(image) : (image as ImageBitmap);
      const { width, height } = bitmap;
      if (texture?.width !== width || texture.height !== height) {
        texture?.destroy();
        texture = device.createTexture({
          size: [width, height],
          format: 'rgba8unorm',
          usage: GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST | GPUTextureUsage.RENDER_ATTACHMENT,
        });
      }
      device.queue.copyExternalImageToTexture({ source: bitmap }, { texture, premultipliedAlpha: true }, [
        width,
        height,
      ]);
      if (isFrame) bitmap.close();
      return { external: false, resource: texture.createView() };
    },
    destroy: () => texture?.destroy(),
  };
}

/**
 * WGSL: `upright(place, turn)` is a pixel of the upright picture, the nearest one where the place is outside. It reads the binding
 * `picture`; `turn` is the clockwise angle that turns the picture upright, in quarters.
 */
export const uprightPixel = (external: boolean): string => /* wgsl */ `
@group(0) @binding(0) var picture: ${external ? 'texture_external' : 'texture_2d<f32>'};

fn upright_size(turn: u32) -> vec2i {
  let decoded = vec2i(textureDimensions(picture));
  return select(decoded, decoded.yx, turn % 2u == 1u);
}

fn upright(place: vec2i, turn: u32) -> vec4f {
  let size = upright_size(turn);
  let p = clamp(place, vec2i(0), size - 1);
  var q = p;
  switch turn {
    case 1u: { q = vec2i(p.y, size.x - 1 - p.x); }
    case 2u: { q = size - 1 - p; }
    case 3u: { q = vec2i(size.y - 1 - p.y, p.x); }
    default: {}
  }
  return textureLoad(picture, q${external ? '' : ', 0'});
}
`;

const side = 8;

/** What a picture with holes shows of the border under it; a picture on its way down has none left. */
const underlaid = ({ pad }: PictureInput): string => /* wgsl */ `
const border = vec3f(${pad.map((value) => literal(value / 255)).join()});
fn colour(place: vec2i, turn: u32) -> vec3f {
  let pixel = upright(place, turn);
  return pixel.rgb + border * (1 - pixel.a);
}
`;

/** One step of the descent. */
const halving = (external: boolean, input: PictureInput): string => /* wgsl */ `
${uprightPixel(external)}${underlaid(input)}
struct Step { turn: u32, across: i32, down: i32 }
@group(0) @binding(1) var<uniform> step_: Step;
@group(0) @binding(2) var smaller: texture_storage_2d<rgba8unorm, write>;
@compute @workgroup_size(${side}, ${side})
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (any(id.xy >= textureDimensions(smaller))) { return; }
  let by = vec2i(step_.across, step_.down);
  var sum = vec3f(0);
  for (var y = 0; y < by.y; y++) {
    for (var x = 0; x < by.x; x++) { sum += colour(vec2i(id.xy) * by + vec2i(x, y), step_.turn); }
  }
  textureStore(smaller, id.xy, vec4f(floor(sum / f32(by.x * by.y) * 255 + 0.01) / 255, 1));
}
`;

/** The last step: into the input tensor, with its borders, units, channels and layout; the arithmetic of `pixelsToTensor`. */
const filling = (external: boolean, input: PictureInput): string => {
  const steps = inputSteps(input);
  const channels = inputChannels(input).map(({ weights, shift }, channel) => {
    const value = `dot(vec3f(${weights.map((weight) => literal(weight * 255)).join()}), seen) + ${literal(shift)}`;
    return `tensor[at + ${channel * steps.channel}u] = ${value};`;
  });
  return /* wgsl */ `
${uprightPixel(external)}${underlaid(input)}
struct Place { scale: vec2f, offset: vec2f, turn: u32 }
@group(0) @binding(1) var<uniform> place: Place;
@group(0) @binding(2) var<storage, read_write> tensor: array<f32>;
@compute @workgroup_size(${side}, ${side})
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (any(id.xy >= vec2u(${input.width}u, ${input.height}u))) { return; }
  let here = vec2f(id.xy);
  let end = place.offset + place.scale * vec2f(upright_size(place.turn));
  let covered = clamp(min(here + 1, end) - max(here, place.offset), vec2f(0), vec2f(1));
  let position = (here + 0.5 - place.offset) / place.scale - 0.5;
  let low = vec2i(floor(position));
  let part = fract(position);
  let above = mix(colour(low, place.turn), colour(low + vec2i(1, 0), place.turn), part.x);
  let below = mix(colour(low + vec2i(0, 1), place.turn), colour(low + vec2i(1, 1), place.turn), part.x);
  let seen = mix(border, mix(above, below, part.y), covered.x * covered.y);
  let at = (id.y * ${input.width}u + id.x) * ${steps.pixel}u;
  ${channels.join('\n  ')}
}
`;
};

/** Pictures → the model's input, on the GPU. */
export interface GpuPicture {
  /** the input tensor, float32 in the model's layout; the next picture is written over it */
  readonly buffer: GPUBuffer;
  /** Fits a picture into {@link GpuPicture.buffer}; the image has to stay open until the GPU has read it. */
  draw(picture: Picture): Promise<FitGeometry>;
  /** Gives the GPU's memory back. */
  destroy(): void;
}

/** What `createCanvasPicture` does, on the GPU and with the same results: the pixels never come to the CPU. */
export function createGpuPicture(device: GPUDevice, input: PictureInput): GpuPicture {
  const sources = createGpuSources(device);
  const buffer = device.createBuffer({
    size: 4 * input.shape.reduce((size, dim) => size * dim, 1),
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
  });
  const uniforms: GPUBuffer[] = [];
  const textures: GPUTexture[] = [];
  const made = new Map<string, GPUComputePipeline>();
  const pipeline = (kind: 'halving' | 'filling', external: boolean): GPUComputePipeline => {
    const key = `${kind} ${external}`;
    const known = made.get(key);
    if (known !== undefined) return known;
    const code = kind === 'halving' ? halving(external, input) : filling(external, input);
    const module = device.createShaderModule({ label: `whylight ${kind}`, code });
    const created = device.createComputePipeline({ label: `whylight ${kind}`, layout: 'auto', compute: { module } });
    made.set(key, created);
    return created;
  };

  /** The texture of a step down, made anew where pictures of another size come. */
  const textureAt = (index: number, { width, height }: Size): GPUTexture => {
    const known = textures[index];
    if (known?.width === width && known.height === height) return known;
    known?.destroy();
    const texture = device.createTexture({
      size: [width, height],
      format: 'rgba8unorm',
      usage: GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.STORAGE_BINDING,
    });
    textures[index] = texture;
    return texture;
  };

  const uniformAt = (index: number, values: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): GPUBuffer => {
    uniforms[index] ??= device.createBuffer({ size: 32, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    device.queue.writeBuffer(uniforms[index], 0, values);
    return uniforms[index];
  };

  return {
    buffer,
    async draw(picture) {
      const fit = fitGeometry(picture, input, input.fit);
      const { sizes, scaleX, scaleY } = descent(uprightSize(picture), picture, fit);
      let turn = picture.rotation / 90;
      let source = await sources.of(picture.image);
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      const dispatch = (kind: 'halving' | 'filling', buffer: GPUBuffer, target: GPUBindingResource, size: Size) => {
        const chosen = pipeline(kind, source.external);
        const resources = [source.resource, { buffer }, target];
        const entries = resources.map((resource, binding) => ({ binding, resource }));
        pass.setPipeline(chosen);
        pass.setBindGroup(0, device.createBindGroup({ layout: chosen.getBindGroupLayout(0), entries }));
        pass.dispatchWorkgroups(Math.ceil(size.width / side), Math.ceil(size.height / side));
      };
      sizes.slice(1).forEach((size, index) => {
        const before = sizes[index]!;
        const by = [before.width === size.width ? 1 : 2, before.height === size.height ? 1 : 2];
        const view = textureAt(index, size).createView();
        dispatch('halving', uniformAt(index, Uint32Array.of(turn, ...by)), view, size);
        source = { external: false, resource: view };
        turn = 0;
      });
      const place = Float32Array.of(scaleX, scaleY, fit.offsetX, fit.offsetY, 0, 0);
      new Uint32Array(place.buffer)[4] = turn;
      dispatch('filling', uniformAt(sizes.length - 1, place), { buffer }, input);
      pass.end();
      device.queue.submit([encoder.finish()]);
      return fit;
    },
    destroy() {
      sources.destroy();
      for (const owned of [...textures, ...uniforms, buffer]) owned.destroy();
    },
  };
}

/** A number as WGSL reads it: with a point, so that it is no integer. */
const literal = (value: number): string => (Number.isInteger(value) ? value.toFixed(1) : String(Math.fround(value)));
