/** The README's verdict-and-remedy table, made from the treatment table. */
import { TREATMENTS } from './treat.ts'

export function treatmentTable(): string {
  const rows = Object.entries(TREATMENTS).map(
    ([verdict, { means, level1, level2, level3, because }]) =>
      `| **${verdict}** | ${means} | ${level1} | ${level2} | ${level3} | ${because} |`,
  )
  return ['| verdict | means | Level 1 | Level 2 | Level 3 | why |', '|---|---|---|---|---|---|', ...rows].join('\n')
}
