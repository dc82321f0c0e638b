/** Whether a node's name matches a pattern, in which `*` stands for any characters, none included. */
export function globMatches(glob: string, name: string): boolean {
  const parts = glob.split('*').map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's').test(name);
}
