import type { WhylightError } from '../errors.js';
import type { MediaFrame } from '../sources/sound-window.js';
import {
  defaultLadder,
  fullGraph,
  type GraphForm,
  type LadderBase,
  makeLadder,
  type RungOptions,
} from './budget/ladder.js';
import type { Graphs } from './budget/lane.js';
import type { ExplainFrameOptions } from './explainer.js';
import type { DeviceChoice, Explanation } from './explanation.js';
import { inputSize, pictureInput, type ResolvedMetadata } from './metadata.js';
import type { Calibration, StartRequest } from './protocol.js';
import type { WorkerLink } from './worker-link.js';

/** A worker that holds one compiled graph, and where it runs by now. */
export interface Opened {
  readonly link: WorkerLink;
  readonly device: DeviceChoice;
}

/** The workers of one composite: the full graph's, and those of the rungs that were needed so far. */
export interface Generation extends Opened {
  readonly graphs: Graphs;
  /** Waits for the frames that the workers have, and ends them. */
  end(reason: WhylightError): Promise<void>;
}

/** How a generation starts its workers and runs frames on them. */
export interface GenerationNeeds {
  readonly request: StartRequest;
  readonly ladder: readonly RungOptions[] | undefined;
  /** where the workers that live are noted */
  readonly links: Set<WorkerLink>;
  /** Starts a worker in the background, unheard. */
  open(request: StartRequest, signal: AbortSignal): Promise<Opened>;
  explain(link: WorkerLink, frame: MediaFrame, options: ExplainFrameOptions): Promise<Explanation>;
  warn(warning: WhylightError): void;
}

/** A generation around the worker of its full graph. Throws WhylightError OPTION_INVALID for a ladder that is none. */
export function createGeneration(full: Opened, needs: GenerationNeeds): Generation {
  const { request, links, explain, warn } = needs;
  const { started } = full.link;
  const { input } = started.metadata;
  const base: LadderBase = {
    report: started.report,
    composite: request.composite,
    size: inputSize(input),
    resizable: started.resizable,
  };
  const ladder = makeLadder(needs.ladder ?? defaultLadder(base), base);
  const ending = new AbortController();
  const opened = new Map<string, Opened>([[fullGraph, full]]);
  links.add(full.link);
  const endOf = async ({ link }: Opened): Promise<void> => {
    await link.end(ending.signal.reason);
    links.delete(link);
  };
  const building = new Map<string, Promise<void>>();
  const calibrations = new Map<string, Calibration>();

  const build = async (key: string, form: GraphForm): Promise<void> => {
    let made: Opened | undefined;
    try {
      made = await needs.open(requestOf(request, form, started.metadata.input, full.device), ending.signal);
      links.add(made.link);
      calibrations.set(key, await made.link.calibrate());
      opened.set(key, made);
    } catch (error) {
      // a rung that cannot be had costs quality, not the stream; nobody asked for those of the default ladder by name
      if (needs.ladder !== undefined && !ending.signal.aborted) warn(error as WhylightError);
    }
    if (made !== undefined && (ending.signal.aborted || !opened.has(key))) await endOf(made);
  };

  let isCalibrated: Promise<void> | undefined;
  const graphs: Graphs = {
    ladder,
    isBuilt: (key) => opened.has(key),
    build(key) {
      const form = ladder.forms.get(key);
      if (form === undefined || building.has(key) || ending.signal.aborted) return;
      building.set(key, build(key, form));
    },
    calibrate() {
      isCalibrated ??= full.link.calibrate().then(
        (times) => void calibrations.set(fullGraph, times),
        // whatever is wrong, the next frame will say it
        () => undefined,
      );
      return isCalibrated;
    },
    calibrations,
    explain: (key, frame, options) => explain((opened.get(key) ?? full).link, frame, options),
  };
  return {
    link: full.link,
    get device() {
      return full.device;
    },
    graphs,
    async end(reason) {
      ending.abort(reason);
      await Promise.all([...building.values(), ...[...opened.values()].map(endOf)]);
    },
  };
}

/** The same model for a form: other rules, another size, on the device that the full graph has by now. */
function requestOf(
  request: StartRequest,
  { composite, size }: GraphForm,
  input: ResolvedMetadata['input'],
  { device }: DeviceChoice,
): StartRequest {
  const { metadata } = request;
  const sized = () => {
    const { shape, layout } = pictureInput({ input });
    const [batch, ...rest] = shape as [number, number, number, number];
    const channels = layout === 'NCHW' ? rest[0] : rest[2];
    return layout === 'NCHW' ? [batch, channels, ...size!] : [batch, ...size!, channels];
  };
  return {
    ...request,
    composite,
    device,
    metadata: size === undefined ? metadata : { ...metadata, input: { ...metadata.input, shape: sized() } },
  };
}
