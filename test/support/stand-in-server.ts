/** The socket through which a command's stand-in (stand-in-client.sh) speaks to the test that plays its service. */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'

/** What a command answers. */
export interface Answer {
  code: number
  stdout?: string
  stderr?: string
}

export interface StandInServer {
  socket: string
  /** Every call with its arguments, e.g. `print gui/501/com.openclaw.watchdog`. */
  calls: string[]
  /** From now on, calls that begin so get this answer, so many times. */
  plan(beginning: string, answer: Answer, times?: number): void
  /** A call as the client would make it. */
  call(...args: string[]): Promise<Answer>
  close(): Promise<void>
}

export async function startStandInServer(answer: (args: string[]) => Promise<Answer> | Answer): Promise<StandInServer> {
  // In /tmp: a socket's path may have about 100 characters only.
  const folder = mkdtempSync(join(realpathSync('/tmp'), 'oc-s-'))
  const socket = join(folder, 'socket')
  const calls: string[] = []
  const planned: { beginning: string; answer: Answer; times: number }[] = []

  async function call(...args: string[]): Promise<Answer> {
    const text = args.join(' ')
    calls.push(text)
    const plan = planned.find(({ beginning, times }) => times > 0 && text.startsWith(beginning))
    if (!plan) return answer(args)
    plan.times--
    return plan.answer
  }

  const server = createServer((request, response) => {
    let text = ''
    request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    request.on('end', () => {
      void call(...text.split('\n')).then(({ code, stdout = '', stderr = '' }) => {
        const lines = [...marked('1', stdout), ...marked('2', stderr)]
        response.end(`${[code, ...lines].join('\n')}\n`)
      })
    })
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  return {
    socket,
    calls,
    call,
    plan: (beginning, reply, times = 1) => void planned.push({ beginning, answer: reply, times }),
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function marked(mark: string, text: string): string[] {
  return text === ''
    ? []
    : text
        .replace(/\n$/, '')
        .split('\n')
        .map((line) => `${mark}${line}`)
}
