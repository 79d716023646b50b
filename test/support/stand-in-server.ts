/** The socket through which a command's stand-in (stand-in-client.sh) speaks to the test that plays its service. */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

export interface Answer {
  code: number
  stdout?: string
  stderr?: string
}

export type StandInServer = Awaited<ReturnType<typeof startStandInServer>>

export async function startStandInServer(answer: (args: string[]) => Promise<Answer> | Answer) {
  // In /tmp: a socket's path may have about 100 characters only.
  const folder = mkdtempSync(join(realpathSync('/tmp'), 'oc-s-'))
  const socket = join(folder, 'socket')
  const calls: string[] = []
  const planned: { beginning: string; answer: Answer; times: number }[] = []

  async function call(...args: string[]): Promise<Answer> {
    const words = args.join(' ')
    calls.push(words)
    const plan = planned.find(({ beginning, times }) => times > 0 && words.startsWith(beginning))
    if (!plan) return answer(args)
    plan.times--
    return plan.answer
  }

  const marked = (mark: string, said = '') => said.replace(/\n$/, '').replace(/^/gm, mark)
  const server = createServer(async (request, response) => {
    const { code, stdout, stderr } = await call(...(await text(request)).split('\n'))
    const lines = [String(code), stdout && marked('1', stdout), stderr && marked('2', stderr)].filter(Boolean)
    response.end(`${lines.join('\n')}\n`)
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  return {
    socket,
    /** Every call with its arguments, e.g. `print gui/501/com.openclaw.watchdog`. */
    calls,
    call,
    /** From now on, calls that begin so get this answer, so many times. */
    plan: (beginning: string, reply: Answer, times = 1) => void planned.push({ beginning, answer: reply, times }),
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
