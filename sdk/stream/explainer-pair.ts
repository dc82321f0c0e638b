import { WhylightError } from '../errors.js';
import {
  type ComparedExplanation,
  type ComparedMaps,
  comparedMaps,
  type FrameDrift,
  frameDrift,
} from '../evaluation/drift.js';
import { type ModelMatch, matchModels } from '../evaluation/model-match.js';
import type { CompileReport } from '../lrp/report.js';
import type { Explainer, ExplainFrameOptions } from '../runtime/explainer.js';
import type { Explanation, Timing } from '../runtime/explanation.js';
import type { PictureInput, ResolvedMetadata, WaveformInput } from '../runtime/metadata.js';
import type { MediaFrame } from '../sources/sound-window.js';
import { duplicate } from './explain.js';
import { type PairStreams, withStreams } from './pair-streams.js';

/** A model that explains what it is given: an {@link Explainer}, which is given frames, or a compiled graph with its feeds. */
export interface Explains<Input, Result extends ComparedExplanation> {
  /** what was compiled */
  readonly report: CompileReport;
  /** labels, and where pictures have their channels; without, there are no labels and the layout is NCHW */
  readonly metadata?: Pick<ResolvedMetadata, 'labels'> & {
    readonly input: Pick<PictureInput, 'layout'> | WaveformInput;
  };
  /** owns what it is given; see {@link Explainer.explainFrame} */
  explainFrame(input: Input, options?: ExplainFrameOptions): Promise<Result>;
}

/** Two models' explanations of one frame and target, and how they differ. */
export interface Comparison<Result extends ComparedExplanation> {
  /** by the model that is the standard, such as the float32 one */
  readonly reference: Result;
  /** by the model that is compared with it, such as the quantized one */
  readonly compared: Result;
  /** in figures */
  readonly drift: FrameDrift;
  /** the relevance that the figures were taken from */
  readonly maps: ComparedMaps;
}

/** An explanation that brings the other model's along; its timing and age are those of both together. */
export type PairedExplanation<Result extends ComparedExplanation> = Result & {
  /**
   * undefined for a frame that was explained without relevance; on a rung that does not explain every frame it is an earlier
   * frame's, like the relevance, and its timestamps say so
   */
  readonly comparison: Comparison<Result> | undefined;
};

/** Settings of {@link explainerPair}. */
export interface PairOptions {
  /** the model whose strongest output is explained in both, and whose explanation the pair's is; default `reference` */
  readonly lead?: 'reference' | 'compared';
}

/** Two models that explain the same frames for the same target; `explain` takes it as it takes an explainer. */
export interface ExplainerPair<Input, Result extends ComparedExplanation> {
  /** which tensors are compared */
  readonly match: ModelMatch;
  /**
   * Explains one frame by both models, for the target that the leading one resolved: where it is `strongest`, the other explains
   * the leading model's strongest output, whatever is its own. It owns the frame and closes it and its copy. A drawing is the leading
   * model's, and numbers are read in any case.
   */
  explainFrame(input: Input, options?: ExplainFrameOptions): Promise<PairedExplanation<Result>>;
}

/**
 * Lets two models explain the same frames. Relevance of the pictures is compared, and of the layers that both were told to tap
 * ({@link ExplainerOptions.taps}; {@link matchModels} knows their names). The pair disposes of neither, and both have to explain by
 * the same composite: whoever changes it makes another pair.
 *
 * @param reference the standard, such as a float32 model
 * @param compared what is compared with it, such as the quantized model
 * @throws {@link WhylightError} MODELS_DIFFER where inputs, outputs or labels are not the same; `details.field` says which
 */
export function explainerPair(
  reference: Explainer,
  compared: Explainer,
  options?: PairOptions,
): ExplainerPair<MediaFrame, Explanation> & PairStreams;
export function explainerPair<Input, Result extends ComparedExplanation>(
  reference: Explains<Input, Result>,
  compared: Explains<Input, Result>,
  options?: PairOptions,
): ExplainerPair<Input, Result>;
export function explainerPair<Input, Result extends ComparedExplanation>(
  reference: Explains<Input, Result>,
  compared: Explains<Input, Result>,
  options: PairOptions = {},
): ExplainerPair<Input, Result> {
  const match = matchModels(reference.report, compared.report);
  checkLabels(reference.metadata?.labels ?? [], compared.metadata?.labels ?? []);
  const input = reference.metadata?.input;
  const layout = input !== undefined && 'layout' in input ? input.layout : 'NCHW';
  const referenceLeads = (options.lead ?? 'reference') === 'reference';
  const [leader, follower] = referenceLeads ? [reference, compared] : [compared, reference];
  const pair: ExplainerPair<Input, Result> = {
    match,
    async explainFrame(input, { draw, ...frameOptions } = {}) {
      const copy = await copied(input);
      // what is drawn on a GPU is compared in numbers
      const both = { ...frameOptions, numbers: true };
      let followed = false;
      try {
        const leading = await leader.explainFrame(input, { ...both, ...(draw && { draw }) });
        followed = true;
        const following = await follower.explainFrame(copy, { ...both, target: leading.target.weights });
        const release = () => {
          leading.release?.();
          following.release?.();
        };
        const result = { ...leading, ...spentOn(leading, following), ...(leading.release && { release }) };
        if (frameOptions.relevance === false) return { ...result, comparison: undefined };
        const [a, b] = referenceLeads ? [leading, following] : [following, leading];
        const maps = comparedMaps(a, b, { match, layout });
        return { ...result, comparison: { reference: a, compared: b, maps, drift: frameDrift(a, b, maps) } };
      } finally {
        if (!followed) discard(copy);
      }
    },
  };
  if (!(isExplainer(leader) && isExplainer(follower))) return pair;
  // what explainers are given are frames
  const ofFrames = pair as unknown as ExplainerPair<MediaFrame, Explanation>;
  return withStreams(ofFrames, leader, follower) as unknown as typeof pair;
}

/** Stage by stage what both took, the second one after the first: its age is the pair's. */
function spentOn(leading: ComparedExplanation, following: ComparedExplanation): Partial<ComparedExplanation> {
  const [first, second] = [leading.timing, following.timing];
  if (first === undefined || second === undefined || following.age === undefined) return {};
  const timing: Timing = {
    preprocess: first.preprocess + second.preprocess,
    inference: first.inference + second.inference,
    drawing: first.drawing + second.drawing,
    readback: first.readback + second.readback,
    queue: first.queue + second.queue,
    total: first.total + second.total,
  };
  return { timing, age: following.age };
}

function isExplainer(model: object): model is Explainer {
  return 'openStream' in model;
}

/** Closes what is a frame; feeds own no memory. */
export function discard(input: unknown): void {
  if (isFrame(input)) input.close();
}

/** Each of two models closes the frame that it is given. */
async function copied<Input>(input: Input): Promise<Input> {
  return isFrame(input) ? ((await duplicate(input)) as Input & MediaFrame) : input;
}

function isFrame(input: unknown): input is MediaFrame {
  return typeof input === 'object' && input !== null && 'captured' in input && 'close' in input;
}

function checkLabels(reference: readonly string[], compared: readonly string[]): void {
  if (reference.length === 0 || compared.length === 0) return;
  const at = reference.findIndex((label, index) => label !== compared[index]);
  if (at < 0) return;
  throw new WhylightError(
    'MODELS_DIFFER',
    `Output ${at} is "${reference[at]}" in one model and "${compared[at]}" in the other; the two decide between different things.`,
    { details: { field: 'labels', index: at } },
  );
}
