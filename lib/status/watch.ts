/** The status again and again, until somebody ends it. */
import { EXIT, type ExitCode } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { look, readRecentHistory, type Status } from './look.ts'

const LOOK_EVERY_MS = 5000
/** A week of logs is read less often than the gateway is looked at. */
const READ_LOGS_EVERY_MS = 60_000

/** The terminal's other screen, without a cursor; and back. What was on the screen before is there again. */
const ENTER = '\u001b[?1049h\u001b[?25l'
const LEAVE = '\u001b[?25h\u001b[?1049l'
/** Nothing is cleared before it is written over: that would flicker. */
const [TO_THE_TOP, END_OF_LINE, REST_OF_SCREEN] = ['\u001b[H', '\u001b[K', '\u001b[J']

/**
 * Looks every five seconds until SIGINT, SIGTERM or SIGHUP.
 * @param inPlace redraw the terminal; else each look is written below the last one
 * @returns as the last look was
 */
export async function watch(
  settings: Settings,
  show: (status: Status) => string[],
  inPlace: boolean,
): Promise<ExitCode> {
  let lines: string[] = []
  let isWell = false
  const draw = () => {
    const { columns = 80, rows = 24 } = process.stdout
    const fitting = lines.slice(0, rows).map((line) => fit(line, columns) + END_OF_LINE)
    process.stdout.write(TO_THE_TOP + fitting.join('\r\n') + REST_OF_SCREEN)
  }
  if (inPlace) {
    process.stdout.write(ENTER)
    process.stdout.on('resize', draw)
    // Whatever ends this process, the terminal is as it was.
    process.on('exit', () => process.stdout.write(LEAVE))
  }
  let end: (() => void) | undefined
  const ended = new Promise<'ended'>((resolve) => {
    end = () => resolve('ended')
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => end?.())

  let history = readRecentHistory(settings)
  let readMs = Date.now()
  for (;;) {
    if (Date.now() - readMs >= READ_LOGS_EVERY_MS) {
      history = readRecentHistory(settings)
      readMs = Date.now()
    }
    const status = await Promise.race([look(settings, history), ended])
    if (status === 'ended') break
    isWell = status.isWell
    lines = show(status)
    if (inPlace) draw()
    else process.stdout.write(`${lines.join('\n')}\n${lines.length > 1 ? '\n' : ''}`)
    let timer: NodeJS.Timeout | undefined
    const next = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, LOOK_EVERY_MS)
    })
    const what = await Promise.race([next, ended])
    clearTimeout(timer)
    if (what === 'ended') break
  }
  return isWell ? EXIT.healthy : EXIT.down
}

/** The first `columns` characters, colours kept: a line that wraps would push the others off the screen. */
function fit(line: string, columns: number): string {
  let shown = 0
  let result = ''
  for (const part of line.split(/(\u001b\[[0-9;]*m)/)) {
    if (part.startsWith('\u001b')) result += part
    else {
      const characters = [...part].slice(0, Math.max(0, columns - shown))
      shown += characters.length
      result += characters.join('')
    }
  }
  return result
}
