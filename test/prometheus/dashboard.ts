/** The dashboard as it is shipped. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectDir } from '../support/sandbox.ts'

interface Panel {
  title: string
  id: number
  targets?: { expr: string }[]
}

export const dashboardText = readFileSync(join(projectDir, 'grafana', 'openclaw-self-healing.json'), 'utf8')
export const panels = JSON.parse(dashboardText).panels as Panel[]

/** A panel's queries, with Grafana's variables filled in, for machines that are seconds old. */
export function queriesOf({ targets = [] }: Panel): string[] {
  return targets.map(({ expr }) =>
    expr
      .replaceAll('$__range:1m', '10m:1s')
      .replaceAll('$__range', '10m')
      .replaceAll('$__rate_interval', '5m')
      .replaceAll(/\$(?:instance|profile)/g, '.*'),
  )
}
