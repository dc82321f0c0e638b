import { concat, from, NEVER, of, Subject, throwError } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { WhylightError } from '../../../sdk/errors.js';
import type { CompileReport } from '../../../sdk/lrp/report.js';
import type { ExplainFrameOptions } from '../../../sdk/runtime/explainer.js';
import type { Explanation } from '../../../sdk/runtime/explanation.js';
import { type Target, targetWeights } from '../../../sdk/runtime/target.js';
import type { Frame } from '../../../sdk/sources/frame.js';
import { explain } from '../../../sdk/stream/explain.js';
import { type Explains, explainerPair } from '../../../sdk/stream/explainer-pair.js';
import { explanationDrift } from '../../../sdk/stream/explanation-drift.js';
import { fakeExplanation, fakeFrame, settle } from './frames.js';

const labels = ['cat', 'dog', 'hen'];

const report = (more: Partial<CompileReport> = {}): CompileReport => ({
  layers: [],
  inputs: [{ name: 'image', shape: [1, 1, 2, 2] }],
  explained: { output: 'logits', logits: 'logits', shape: [1, 3] },
  forward: 1,
  backward: 1,
  offGpu: [],
  notes: [],
  steps: [],
  ...more,
});

/** Pictures that are open: frames, and what was cloned from them. */
function counted(count: number) {
  const state = { open: 0, twice: 0, made: 0 };
  const picture = (): VideoFrame => {
    let closed = false;
    state.open++;
    state.made++;
    const close = () => {
      if (closed) state.twice++;
      else state.open--;
      closed = true;
    };
    return { close, clone: picture } as VideoFrame;
  };
  const frames = () =>
    Array.from({ length: count }, (_, index) => {
      const image = picture();
      return fakeFrame(index, { image, close: () => image.close() });
    });
  return { state, frames };
}

/** A model whose relevance is `relevance` at every pixel of frame 0, 1, 2 …, and whose strongest output is `strongest`. */
function model(
  relevance: (index: number) => readonly number[],
  more: { strongest?: number; failAt?: number; report?: CompileReport; labels?: readonly string[] } = {},
): Explains<Frame, Explanation> & { readonly targets: (readonly number[])[] } {
  const { strongest = 1, failAt, labels: names = labels } = more;
  const targets: (readonly number[])[] = [];
  return {
    targets,
    report: more.report ?? report(),
    metadata: { labels: names, input: { layout: 'NCHW' } },
    async explainFrame(frame: Frame, { target = 'strongest', relevance: wanted = true }: ExplainFrameOptions = {}) {
      frame.close();
      await settle();
      const index = frame.timestamp / 40_000;
      if (index === failAt) throw new WhylightError('SESSION_FAILED', `frame ${index} failed`);
      const asked = targetWeights(target as Target, names, 3);
      const weights = asked.every((weight) => weight === 0) ? targetWeights(strongest, names, 3) : asked;
      targets.push([...weights]);
      const data = Float32Array.from(relevance(index));
      return {
        ...fakeExplanation(frame),
        target: { weights, indices: [weights.indexOf(1)], labels: [] },
        topK: [{ index: strongest, label: names[strongest]!, probability: 1, logit: 2 }],
        logit: 2 + index,
        relevance: wanted ? { image: { dims: [1, 1, 2, 2], data } } : {},
      };
    },
  };
}

const steady = () => model(() => [1, 2, 3, -4]);
const turning = (more: Parameters<typeof model>[1] = {}) => model((index) => [1, 2, 3, index % 2 ? 4 : -4], more);

describe('explanationDrift', () => {
  it('gives every frame and a summary, and leaves nothing open', async () => {
    const { state, frames } = counted(5);
    const progress: number[] = [];
    const drift = explanationDrift(steady(), turning(), frames(), {
      onProgress: (so) => progress.push(so.frames),
    });
    const flips: number[] = [];
    for await (const { drift: frame } of drift) flips.push(frame.map.signFlips.elements);
    expect(flips).toEqual([0, 0.25, 0, 0.25, 0]);
    expect(await drift.summary()).toMatchObject({ frames: 5, decisionsChanged: 0, logit: { bias: 0 } });
    expect(progress).toEqual([1, 2, 3, 4, 5]);
    // a copy of each frame, for the other model
    expect(state).toEqual({ open: 0, twice: 0, made: 10 });
  });

  it('explains in both what the reference model decides', async () => {
    const [reference, compared] = [steady(), turning({ strongest: 2 })];
    const { frames } = counted(2);
    const summary = await explanationDrift(reference, compared, frames()).summary();
    expect(summary.decisionsChanged).toBe(2);
    expect(compared.targets).toEqual([
      [0, 1, 0],
      [0, 1, 0],
    ]);
    const named = [steady(), turning()] as const;
    await explanationDrift(...named, counted(1).frames(), { target: ['cat', 'hen'] }).summary();
    expect(named.map(({ targets }) => targets)).toEqual([[[1, 0, 1]], [[1, 0, 1]]]);
  });

  it('takes an Observable, and closes what it gave too much of', async () => {
    const { state, frames } = counted(6);
    const all = explanationDrift(steady(), turning(), from(frames()));
    expect((await all.summary()).frames).toBe(6);
    expect(state).toMatchObject({ open: 0, twice: 0 });

    const live = counted(4);
    const subject = new Subject<Frame>();
    const cut = explanationDrift(steady(), turning(), subject);
    const iterator = cut[Symbol.asyncIterator]();
    const first = iterator.next();
    for (const frame of live.frames()) subject.next(frame);
    await first;
    await iterator.return?.();
    expect(subject.observed).toBe(false);
    expect(live.state).toMatchObject({ open: 0, twice: 0 });
    expect(cut.soFar().frames).toBe(1);
  });

  it('ends with the source’s error, after the frames before it', async () => {
    const { state, frames } = counted(2);
    const failed = new WhylightError('MEDIA_CORRUPT', 'the file ends too early');
    const drift = explanationDrift(
      steady(),
      turning(),
      concat(
        from(frames()),
        throwError(() => failed),
      ),
    );
    await expect(drift.summary()).rejects.toBe(failed);
    expect(drift.soFar().frames).toBe(2);
    expect(state).toMatchObject({ open: 0, twice: 0 });
  });

  it.each([
    ['the first model', { failAt: 1 }, {}],
    ['the second model', {}, { failAt: 1 }],
  ])('closes frame and copy when %s fails', async (_, first, second) => {
    const { state, frames } = counted(2);
    const drift = explanationDrift(turning(first), turning(second), frames());
    await expect(drift.summary()).rejects.toThrow('frame 1 failed');
    expect(drift.soFar().frames).toBe(1);
    expect(state).toMatchObject({ open: 0, twice: 0 });
  });

  it('ends the source when the loop is left', async () => {
    const { state, frames } = counted(4);
    let returned = false;
    const source = async function* () {
      const given = frames();
      try {
        while (given.length > 0) yield given.shift()!;
      } finally {
        returned = true;
        for (const frame of given) frame.close();
      }
    };
    for await (const { drift } of explanationDrift(steady(), turning(), source())) {
      if (drift.timestamp > 0) break;
    }
    expect(returned).toBe(true);
    expect(state).toMatchObject({ open: 0, twice: 0 });
  });

  it('ends at once when it is aborted, also while the source is silent', async () => {
    const { state, frames } = counted(2);
    const abort = new AbortController();
    const drift = explanationDrift(steady(), turning(), concat(from(frames()), NEVER), { signal: abort.signal });
    const summary = drift.summary();
    await settle();
    await new Promise((resolve) => setTimeout(resolve));
    abort.abort();
    await expect(summary).rejects.toMatchObject({ code: 'ABORTED' });
    expect(drift.soFar().frames).toBe(2);
    expect(state).toMatchObject({ open: 0, twice: 0 });
    const none = explanationDrift(steady(), turning(), of(...counted(1).frames()), { signal: abort.signal });
    await expect(none.summary()).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it.each([
    ['inputs', turning({ report: report({ inputs: [{ name: 'image', shape: [1, 1, 4, 4] }] }) }), {}],
    ['output', turning({ report: report({ explained: { output: 'logits', logits: 'logits', shape: [1, 4] } }) }), {}],
    ['labels', turning({ labels: ['cat', 'cow', 'hen'] }), {}],
    ['layers', turning(), { requireLayers: true }],
  ])('refuses models that differ in %s, before any frame is taken', (field, other, options) => {
    expect(() => explanationDrift(steady(), other, [], options)).toThrow(
      expect.objectContaining({ code: 'MODELS_DIFFER', details: expect.objectContaining({ field }) }),
    );
  });
});

describe('a pair in a stream', () => {
  it('is one explainer that brings the other model’s explanation along', async () => {
    const { state, frames } = counted(3);
    const pair = explainerPair(steady(), turning({ strongest: 2 }), { lead: 'compared' });
    const seen: string[] = [];
    await new Promise<void>((complete, error) =>
      from(frames())
        .pipe(explain(pair, { flow: 'lossless', keepFrame: true }))
        .subscribe({
          next({ picture, target, comparison, relevance }) {
            picture!.close();
            const { reference, compared, drift } = comparison!;
            expect(relevance).toBe(compared.relevance);
            expect(reference.timestamp).toBe(compared.timestamp);
            seen.push(`${target.indices} ${reference.target.indices} ${drift.map.cosine.toFixed(2)}`);
          },
          complete,
          error,
        }),
    );
    // what the compared model decides is explained in both
    expect(seen).toEqual(['2 2 1.00', '2 2 -0.07', '2 2 1.00']);
    // the picture that is kept, and one for each model
    expect(state).toEqual({ open: 0, twice: 0, made: 9 });
  });

  it('compares nothing where no relevance is asked for', async () => {
    const { state, frames } = counted(1);
    const { comparison, logit } = await explainerPair(steady(), turning()).explainFrame(frames()[0]!, {
      relevance: false,
    });
    expect({ comparison, logit }).toEqual({ comparison: undefined, logit: 2 });
    expect(state).toMatchObject({ open: 0, twice: 0 });
  });
});
