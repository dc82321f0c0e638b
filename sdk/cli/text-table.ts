/**
 * A table for the terminal, line by line: heads, a rule, and a line for each row. A column that nothing is in is left out.
 *
 * @param right columns of figures, whose ends stand under each other
 */
export function textTable<Column extends string>(
  columns: readonly Column[],
  rows: readonly Readonly<Record<Column, string>>[],
  right: readonly Column[],
): readonly string[] {
  const filled = columns.filter((column) => rows.some((row) => row[column] !== ''));
  const widths = filled.map((column) => Math.max(column.length, ...rows.map((row) => row[column].length)));
  const line = (textOf: (column: Column) => string): string =>
    filled
      .map((column, k) =>
        right.includes(column) ? textOf(column).padStart(widths[k]!) : textOf(column).padEnd(widths[k]!),
      )
      .join('  ')
      .trimEnd();
  return [
    line((column) => column),
    widths.map((width) => '─'.repeat(width)).join('  '),
    ...rows.map((row) => line((column) => row[column])),
  ];
}
