export async function liveStages(): Promise<readonly object[]> {
  return [];
}
