import { type ParseArgsConfig, parseArgs } from 'node:util';

/** The command line was not understood: exit code 2 and the usage. */
export class UsageError extends Error {}

/** What parseArgs makes of options. */
type Parsed<Options extends NonNullable<ParseArgsConfig['options']>> = ReturnType<
  typeof parseArgs<{ args: string[]; options: Options; allowPositionals: true; strict: true }>
>;

/** A command's options and what stands beside them. Throws UsageError. */
export function parse<const Options extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  options: Options,
): Parsed<Options> {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** `name=value` arguments as a record. Throws UsageError. */
export function named<T>(
  list: readonly string[] | undefined,
  option: string,
  read: (text: string) => T | undefined,
): Record<string, T> {
  return Object.fromEntries(
    (list ?? []).map((item) => {
      const at = item.lastIndexOf('=');
      const value = at > 0 ? read(item.slice(at + 1)) : undefined;
      if (value === undefined) throw new UsageError(`--${option} ${item} is not understood`);
      return [item.slice(0, at), value];
    }),
  );
}

/** `1x3x224x224` */
function shape(text: string): number[] | undefined {
  const dims = text.split('x').map(Number);
  return dims.every((dim) => Number.isInteger(dim) && dim > 0) ? dims : undefined;
}

/** The option of every command that reads a model whose file leaves dimensions open, for {@link inputShapesOf}. */
export const inputShapeOption = { 'input-shape': { type: 'string', multiple: true } } as const;

/** Shapes of inputs by name. Throws UsageError. */
export function inputShapesOf(values: { readonly 'input-shape'?: readonly string[] }): Record<string, number[]> {
  return named(values['input-shape'], 'input-shape', shape);
}

/** The option of every command that takes pictures out of a clip, for {@link perSecondOf}. */
export const perSecondOption = { fps: { type: 'string' } } as const;

/** Pictures of a clip per second, above 0; 5 where none are given. Throws UsageError. */
export function perSecondOf({ fps }: { readonly fps?: string }): number {
  const perSecond = number(fps, 'fps') ?? 5;
  if (!(perSecond > 0)) throw new UsageError(`--fps ${fps} is not above 0`);
  return perSecond;
}

/** `16000` as a number, `1,0.5` as a list. */
export function numberOrList(text: string): number | number[] | undefined {
  const values = text.split(',').map((item) => (item.trim() === '' ? Number.NaN : Number(item)));
  if (values.some(Number.isNaN)) return undefined;
  return values.length === 1 ? values[0] : values;
}

/** `0..255` */
export function range(text: string): [number, number] | undefined {
  const [low, high, ...more] = text.split('..').map(Number);
  return more.length === 0 && Number.isFinite(low) && Number.isFinite(high) ? [low!, high!] : undefined;
}

/** A finite number, undefined where none is given. Throws UsageError. */
export function number(text: string | undefined, option: string): number | undefined {
  const value = text === undefined ? undefined : Number(text);
  if (value === undefined || (Number.isFinite(value) && text?.trim() !== '')) return value;
  throw new UsageError(`--${option} ${text} is no number`);
}
