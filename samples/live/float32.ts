import type { ModelChoice } from './settings.js';

/** The float32 model that a bundled quantized one was made from; undefined where there is none beside it. */
export function float32Of(choice: ModelChoice): ModelChoice | undefined {
  const name = choice.kind === 'bundled' ? /^(.+)-int8$/.exec(choice.name)?.[1] : undefined;
  return name === undefined ? undefined : { kind: 'bundled', name };
}
