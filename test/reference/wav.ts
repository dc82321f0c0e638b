/** A WAV file of 16 bits: samples in −1…1 by channel. */
export function wav(channels: readonly Float32Array[], sampleRate: number): Buffer {
  const [count, frames] = [channels.length, channels[0]!.length];
  const bytes = Buffer.alloc(44 + 2 * count * frames);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(bytes.length - 8, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20); // whole numbers
  bytes.writeUInt16LE(count, 22);
  bytes.writeUInt32LE(sampleRate, 24);
  bytes.writeUInt32LE(2 * count * sampleRate, 28);
  bytes.writeUInt16LE(2 * count, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36);
  bytes.writeUInt32LE(2 * count * frames, 40);
  for (let frame = 0; frame < frames; frame++) {
    for (const [channel, samples] of channels.entries()) {
      bytes.writeInt16LE(Math.round(32_767 * samples[frame]!), 44 + 2 * (frame * count + channel));
    }
  }
  return bytes;
}

/** A sine of half the full scale. */
export function tone(sampleRate: number, frequency: number, seconds: number): Float32Array {
  return Float32Array.from(
    { length: Math.round(seconds * sampleRate) },
    (_, index) => 0.5 * Math.sin((2 * Math.PI * frequency * index) / sampleRate),
  );
}
