import { createGpuSources, uprightPixel } from '../runtime/gpu-picture.js';
import type { FitGeometry, Picture } from '../runtime/preprocess.js';
import type { Colormap } from './colormap.js';
import { createGpuScale, type GpuRelevance, levelIndex } from './gpu-scale.js';
import type { NormalizerOptions } from './normalize.js';
import { type OverlayLook, placeOfInput, resolveLook } from './overlay.js';

/** One picture with its relevance. */
export interface GpuOverlaid {
  /** its image has to stay open until the promise of {@link GpuOverlay.draw} resolves */
  readonly picture: Picture;
  /** how it lies in the model's input */
  readonly fit: FitGeometry;
  /** relevance of the model's input, whose buffer may be given back once the promise resolves; undefined: the picture alone */
  readonly relevance: GpuRelevance | undefined;
  /** in microseconds, for a scale that follows the video */
  readonly timestamp: number;
}

/** Pictures with their relevance, drawn by the GPU that computed it: what `drawOverlay` does, and nothing is read back. */
export interface GpuOverlay {
  /** Draws over the whole canvas, whose size is the caller's to set. */
  draw(overlaid: GpuOverlaid, look?: OverlayLook): Promise<void>;
  /** Gives the GPU's memory back. */
  destroy(): void;
}

const modes = ['overlay', 'tint', 'alpha', 'heatmap', 'picture'] as const;
const signs = ['both', 'positive', 'negative'] as const;

const shader = (external: boolean): string => /* wgsl */ `
struct Look { on: vec4f, canvas: vec2f, map: vec2u, turn: u32, mode: u32, sign: u32, smooth_: u32, opacity: f32 }
${uprightPixel(external)}
@group(0) @binding(1) var<uniform> look: Look;
@group(0) @binding(2) var<storage, read> map: array<f32>;
@group(0) @binding(3) var<storage, read> state: array<f32>;
@group(0) @binding(4) var<storage, read> colours: array<u32>;

@vertex
fn corners(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
  // one triangle that covers the canvas
  return vec4f(select(-1.0, 3.0, index == 1u), select(-1.0, 3.0, index == 2u), 0, 1);
}

fn between(position: vec2f) -> vec4f {
  let low = vec2i(floor(position));
  let part = fract(position);
  let above = mix(upright(low, look.turn), upright(low + vec2i(1, 0), look.turn), part.x);
  let below = mix(upright(low + vec2i(0, 1), look.turn), upright(low + vec2i(1, 1), look.turn), part.x);
  return mix(above, below, part.y);
}

/** Relevance of -1...1 at a pixel of the map; what is not a finite number is none. */
fn relevance(place: vec2i) -> f32 {
  let p = vec2u(clamp(place, vec2i(0), vec2i(look.map) - 1));
  let value = map[p.y * look.map.x + p.x];
  let level = state[${levelIndex}];
  let finite = (bitcast<u32>(value) & 0x7fffffffu) < 0x7f800000u;
  return select(0.0, clamp(value / level, -1, 1), finite && level > 0);
}

fn relevance_between(position: vec2f) -> f32 {
  let low = vec2i(floor(position));
  let part = fract(position);
  let above = mix(relevance(low), relevance(low + vec2i(1, 0)), part.x);
  let below = mix(relevance(low + vec2i(0, 1)), relevance(low + vec2i(1, 1)), part.x);
  return mix(above, below, part.y);
}

/** Rounded by magnitude: r and -r are equally far from the middle. */
fn colour_of(value: f32) -> vec3f {
  return unpack4x8unorm(colours[u32(128 + sign(value) * floor(abs(value) * 128 + 0.5))]).rgb;
}

@fragment
fn paint(@builtin(position) position: vec4f) -> @location(0) vec4f {
  let at = position.xy;
  let shown = between(at / look.canvas * vec2f(upright_size(look.turn)) - 0.5);
  let in_map = (at - look.on.xy) / look.on.zw * vec2f(look.map);
  let inside = all(in_map >= vec2f(0)) && all(in_map <= vec2f(look.map));
  var value = relevance(vec2i(floor(in_map)));
  if (look.smooth_ == 1u) { value = relevance_between(in_map - 0.5); }
  value = select(0.0, value, inside);
  let colour = colour_of(value);
  switch look.mode {
    case 1u: { // tint
      let strength = abs(value) * look.opacity;
      return vec4f(mix(shown.rgb, colour, strength), mix(shown.a, 1, strength));
    }
    case 2u: { // alpha
      var strength = abs(value);
      if (look.sign == 1u) { strength = max(value, 0); }
      if (look.sign == 2u) { strength = max(-value, 0); }
      return shown * strength * look.opacity;
    }
    case 3u: { // heatmap: outside of a crop the model has seen nothing, so nothing there is relevant
      let ground = vec4f(colour_of(0), 1) * look.opacity;
      return select(ground, vec4f(colour, 1) * look.opacity + ground * (1 - look.opacity), inside);
    }
    case 4u: { return shown; }
    default: {
      let strength = select(0.0, look.opacity, inside);
      return vec4f(mix(shown.rgb, colour, strength), mix(shown.a, 1, strength));
    }
  }
}
`;

/**
 * @param canvas its WebGPU context is configured for the device
 * @param options by what a map is divided, as in `normalizer`
 */
export function createGpuOverlay(
  device: GPUDevice,
  canvas: OffscreenCanvas,
  options: Omit<NormalizerOptions, 'joint'> = {},
): GpuOverlay {
  const context = canvas.getContext('webgpu')!;
  const format = navigator.gpu.getPreferredCanvasFormat();
  context.configure({ device, format, alphaMode: 'premultiplied' });
  const sources = createGpuSources(device);
  const scale = createGpuScale(device, options);
  const uniforms = device.createBuffer({ size: 64, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  const none = device.createBuffer({ size: 4, usage: GPUBufferUsage.STORAGE });
  const colours = device.createBuffer({ size: 4 * 257, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
  const pipelines = new Map<boolean, GPURenderPipeline>();
  let written: Colormap | undefined;

  const pipelineFor = (external: boolean): GPURenderPipeline => {
    const known = pipelines.get(external);
    if (known !== undefined) return known;
    const module = device.createShaderModule({ label: 'whylight overlay', code: shader(external) });
    const made = device.createRenderPipeline({
      label: 'whylight overlay',
      layout: 'auto',
      vertex: { module },
      fragment: { module, targets: [{ format }] },
    });
    pipelines.set(external, made);
    return made;
  };

  return {
    async draw({ picture, fit, relevance, timestamp }, look = {}) {
      const { mode, smooth, sign, opacity, colours: chosen } = resolveLook(look);
      const source = await sources.of(picture.image);
      const encoder = device.createCommandEncoder();
      // a frame without relevance says nothing about the scale of the next
      if (relevance !== undefined) scale.measure(encoder, relevance, timestamp);
      if (written !== chosen) {
        device.queue.writeBuffer(colours, 0, chosen.table);
        written = chosen;
      }
      const { width, height } = canvas;
      const map = relevance ?? { width: 1, height: 1 };
      const on = placeOfInput(fit, picture, map, { x: 0, y: 0, width, height });
      const numbers = Float32Array.of(
        on.x,
        on.y,
        on.width,
        on.height,
        width,
        height,
        0,
        0,
        0,
        0,
        0,
        0,
        opacity,
        0,
        0,
        0,
      );
      new Uint32Array(numbers.buffer).set(
        [
          map.width,
          map.height,
          picture.rotation / 90,
          modes.indexOf(relevance === undefined ? 'picture' : mode),
          signs.indexOf(sign),
          smooth ? 1 : 0,
        ],
        6,
      );
      device.queue.writeBuffer(uniforms, 0, numbers);
      const pipeline = pipelineFor(source.external);
      const buffers = [uniforms, scale.map ?? none, scale.state, colours].map((buffer) => ({ buffer }));
      const pass = encoder.beginRenderPass({
        colorAttachments: [{ view: context.getCurrentTexture().createView(), loadOp: 'clear', storeOp: 'store' }],
      });
      pass.setPipeline(pipeline);
      pass.setBindGroup(
        0,
        device.createBindGroup({
          layout: pipeline.getBindGroupLayout(0),
          entries: [source.resource, ...buffers].map((resource, binding) => ({ binding, resource })),
        }),
      );
      pass.draw(3);
      pass.end();
      device.queue.submit([encoder.finish()]);
    },
    destroy() {
      context.unconfigure();
      sources.destroy();
      scale.destroy();
      for (const owned of [uniforms, none, colours]) owned.destroy();
    },
  };
}
