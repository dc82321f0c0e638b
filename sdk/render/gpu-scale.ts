import type { NormalizerOptions } from './normalize.js';

/** Relevance on the GPU, and how it lies there. */
export interface GpuRelevance {
  /** float32, row-major; may be longer than the tensor */
  readonly buffer: GPUBuffer;
  /** how many channels a pixel has */
  readonly channels: number;
  /** where they are */
  readonly layout: 'NCHW' | 'NHWC';
  /** in pixels */
  readonly width: number;
  /** in pixels */
  readonly height: number;
}

/** What `sumChannels` and `normalizer` do, on the GPU and in the order of its queue. */
export interface GpuScale {
  /** relevance per pixel, float32, row by row; undefined before the first {@link GpuScale.measure} */
  readonly map: GPUBuffer | undefined;
  /** float32: `level`, what the map is to be divided by, at the index {@link levelIndex} */
  readonly state: GPUBuffer;
  /** Writes the commands that sum channels and find the level of a frame with that timestamp in microseconds. */
  measure(encoder: GPUCommandEncoder, relevance: GpuRelevance, timestamp: number): void;
  /** Gives the GPU's memory back. */
  destroy(): void;
}

/** Where in {@link GpuScale.state} the level is, counted in 32-bit words. */
export const levelIndex = 4;

// |R| is ordered as its bits are, read as an unsigned integer. So its percentile is found exactly, eight bits at a time: count the
// values by their next eight bits, keep the bits under which the rank falls, and go on among the values that share them.
const shader = /* wgsl */ `
struct Settings { pixels: u32, channels: u32, pixel_step: u32, channel_step: u32, percent: f32, rise: f32, fall: f32, begin: u32 }
struct State { largest: atomic<u32>, finite: atomic<u32>, prefix: u32, rank: u32, level: f32, shift: u32, bins: array<atomic<u32>, 256> }
@group(0) @binding(0) var<uniform> settings: Settings;
@group(0) @binding(1) var<storage, read> relevance: array<f32>;
@group(0) @binding(2) var<storage, read_write> map: array<f32>;
@group(0) @binding(3) var<storage, read_write> state: State;

const infinite = 0x7f800000u;
fn magnitude(i: u32) -> u32 { return bitcast<u32>(map[i]) & 0x7fffffffu; }

@compute @workgroup_size(64)
fn sum(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * 65535u * 64u;
  if (i >= settings.pixels) { return; }
  var total = 0.0;
  for (var k = 0u; k < settings.channels; k++) {
    total += relevance[i * settings.pixel_step + k * settings.channel_step];
  }
  map[i] = total;
  let bits = bitcast<u32>(total) & 0x7fffffffu;
  if (bits < infinite) {
    atomicMax(&state.largest, bits);
    atomicAdd(&state.finite, 1u);
  }
}

@compute @workgroup_size(1)
fn rank() {
  let place = ceil(f32(atomicLoad(&state.finite)) * settings.percent / 100);
  state.rank = u32(max(0.0, place - 1));
  state.prefix = 0u;
  state.shift = 24u;
}

@compute @workgroup_size(64)
fn count(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * 65535u * 64u;
  if (i >= settings.pixels) { return; }
  let bits = magnitude(i);
  let shares = state.shift == 24u || (bits >> (state.shift + 8u)) == state.prefix;
  if (bits < infinite && shares) { atomicAdd(&state.bins[(bits >> state.shift) & 255u], 1u); }
}

@compute @workgroup_size(1)
fn pick() {
  var bin = 0u;
  while (bin < 255u && state.rank >= atomicLoad(&state.bins[bin])) {
    state.rank -= atomicLoad(&state.bins[bin]);
    bin++;
  }
  state.prefix = (state.prefix << 8u) | bin;
  if (state.shift > 0u) { state.shift -= 8u; }
  for (var k = 0u; k < 256u; k++) { atomicStore(&state.bins[k], 0u); }
}

@compute @workgroup_size(1)
fn follow() {
  let largest = bitcast<f32>(atomicLoad(&state.largest));
  var reached = largest;
  if (settings.percent < 100 && atomicLoad(&state.finite) > 0u) { reached = bitcast<f32>(state.prefix); }
  if (reached == 0) { reached = largest; }
  if (settings.begin == 1u || state.level == 0) {
    state.level = reached;
  } else {
    let left = select(settings.fall, settings.rise, reached > state.level);
    state.level = reached + (state.level - reached) * left;
  }
  atomicStore(&state.largest, 0u);
  atomicStore(&state.finite, 0u);
}
`;

const entryPoints = ['sum', 'rank', 'count', 'pick', 'follow'] as const;

/** One map per frame, so `joint` says nothing here. */
export function createGpuScale(device: GPUDevice, options: Omit<NormalizerOptions, 'joint'> = {}): GpuScale {
  const { scale = 'maximum', running } = options;
  const percent = scale === 'maximum' ? 100 : scale.percentile;
  const module = device.createShaderModule({ label: 'whylight scale', code: shader });
  const { COMPUTE } = GPUShaderStage;
  const types = ['uniform', 'read-only-storage', 'storage', 'storage'] as const;
  const group = device.createBindGroupLayout({
    entries: types.map((type, binding) => ({ binding, visibility: COMPUTE, buffer: { type } })),
  });
  const layout = device.createPipelineLayout({ bindGroupLayouts: [group] });
  const pipelines = Object.fromEntries(
    entryPoints.map((entryPoint) => [
      entryPoint,
      device.createComputePipeline({ layout, compute: { module, entryPoint } }),
    ]),
  ) as Readonly<Record<(typeof entryPoints)[number], GPUComputePipeline>>;
  const settings = device.createBuffer({ size: 32, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  const state = device.createBuffer({ size: 4 * (6 + 256), usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
  let map: GPUBuffer | undefined;
  let before: number | undefined;

  /** Share of the way to go that is left after the time that has passed, half of it being gone after `half` seconds. */
  const left = (seconds: number, half: number): number => (half === 0 ? 0 : 2 ** (-seconds / half));

  return {
    get map() {
      return map;
    },
    state,
    measure(encoder, relevance, timestamp) {
      const pixels = relevance.width * relevance.height;
      if (map?.size !== 4 * pixels) {
        map?.destroy();
        map = device.createBuffer({ size: 4 * pixels, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
      }
      const { channels } = relevance;
      const steps = relevance.layout === 'NCHW' ? [1, pixels] : [channels, 1];
      const seconds = before === undefined ? -1 : (timestamp - before) / 1e6;
      before = timestamp;
      const numbers = Uint32Array.of(pixels, channels, ...steps, 0, 0, 0, running === undefined || seconds < 0 ? 1 : 0);
      const { attack = 0, halfLife = 2 } = running ?? {};
      new Float32Array(numbers.buffer).set([percent, left(seconds, attack), left(seconds, halfLife)], 4);
      device.queue.writeBuffer(settings, 0, numbers);
      const resources = [settings, relevance.buffer, map, state];
      const pass = encoder.beginComputePass();
      pass.setBindGroup(
        0,
        device.createBindGroup({
          layout: group,
          entries: resources.map((buffer, binding) => ({ binding, resource: { buffer } })),
        }),
      );
      const groups = Math.ceil(pixels / 64);
      const run = (name: (typeof entryPoints)[number], x: number, y = 1) => {
        pass.setPipeline(pipelines[name]);
        pass.dispatchWorkgroups(x, y);
      };
      const everywhere = [Math.min(groups, 65535), Math.ceil(groups / 65535)] as const;
      run('sum', ...everywhere);
      if (percent < 100) {
        run('rank', 1);
        for (let round = 0; round < 4; round++) {
          run('count', ...everywhere);
          run('pick', 1);
        }
      }
      run('follow', 1);
      pass.end();
    },
    destroy() {
      for (const owned of [settings, state, map]) owned?.destroy();
    },
  };
}
