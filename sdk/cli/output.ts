/** Where the command writes: a stream's `write`. */
export interface Output {
  write(text: string): unknown;
}
