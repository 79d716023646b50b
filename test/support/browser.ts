/**
 * A real Chromium, headless, driven through its DevTools protocol over a pipe (file descriptors 3 and 4, messages ended
 * by a zero byte): https://chromedevtools.github.io/devtools-protocol/. Nothing listens on a port.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { pathToFileURL } from 'node:url'

export type Look = 'light' | 'dark'

export interface Page {
  /** What the page complained about: errors and warnings of the console, what the policy refused, failed requests. */
  problems: string[]
  /** Every address that was asked for. */
  requests: string[]
  /** The value of an expression in the page. */
  evaluate<T>(expression: string): Promise<T>
  /** The names by which a screen reader finds elements of a role. */
  namesOf(role: string): Promise<string[]>
  show(look: Look, width: number, height?: number): Promise<void>
  /** A PNG of the page from its top, or from the top of one element, to the bottom of another; with a small margin. */
  picture(to: string, from?: string): Promise<Buffer>
}

export interface Browser {
  open(file: string): Promise<Page>
  close(): Promise<void>
}

interface Answer {
  id?: number
  method?: string
  params?: unknown
  result?: unknown
  error?: { message: string }
  sessionId?: string
}

export async function startBrowser(): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), 'oc-chromium-'))
  const child = spawn(
    'chromium',
    [
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--hide-scrollbars',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      `--user-data-dir=${profile}`,
      '--remote-debugging-pipe',
      'about:blank',
    ],
    { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'], env: { PATH: '/usr/bin:/bin', HOME: profile } },
  )
  // Without a chromium this throws.
  await once(child, 'spawn')
  let said = ''
  child.stderr!.on('data', (chunk) => {
    said = `${said}${chunk}`.slice(-4000)
  })
  const waiting = new Map<number, { take: (result: never) => void; refuse: (error: Error) => void }>()
  const listeners: ((answer: Answer) => void)[] = []
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const refuseAll = (error: Error) => {
    for (const { refuse } of waiting.values()) refuse(error)
    waiting.clear()
  }
  child.once('error', refuseAll)
  child.once('exit', (code) => refuseAll(new Error(`chromium ended with ${code}: ${said}`)))

  let rest: Buffer = Buffer.alloc(0)
  ;(child.stdio[4] as Readable).on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk])
    for (let end = rest.indexOf(0); end !== -1; end = rest.indexOf(0)) {
      const answer = JSON.parse(rest.subarray(0, end).toString('utf8')) as Answer
      rest = rest.subarray(end + 1)
      const asked = answer.id === undefined ? undefined : waiting.get(answer.id)
      if (asked) waiting.delete(answer.id!)
      if (answer.error) asked?.refuse(new Error(answer.error.message))
      else asked?.take(answer.result as never)
      for (const listen of listeners) listen(answer)
    }
  })
  const pipe = child.stdio[3] as Writable
  pipe.on('error', refuseAll)
  let lastId = 0
  const ask = <T>(method: string, params: object = {}, sessionId?: string): Promise<T> =>
    new Promise((take, refuse) => {
      waiting.set(++lastId, { take, refuse })
      pipe.write(`${JSON.stringify({ id: lastId, method, params, sessionId })}\0`)
    })

  async function open(file: string): Promise<Page> {
    const { targetId } = await ask<{ targetId: string }>('Target.createTarget', { url: 'about:blank' })
    const { sessionId } = await ask<{ sessionId: string }>('Target.attachToTarget', { targetId, flatten: true })
    const here = <T>(method: string, params: object = {}) => ask<T>(method, params, sessionId)
    const problems: string[] = []
    const requests: string[] = []
    let loaded = () => {}
    listeners.push((answer) => {
      if (answer.sessionId !== sessionId) return
      const { method } = answer
      const text = JSON.stringify(answer.params)
      if (method === 'Page.loadEventFired') loaded()
      else if (method === 'Network.requestWillBeSent')
        requests.push((answer.params as { request: { url: string } }).request.url)
      else if (
        /^(Log\.entryAdded|Runtime\.(exceptionThrown|consoleAPICalled)|Network\.loadingFailed)$/.test(method ?? '')
      )
        problems.push(`${method} ${text}`)
    })
    for (const domain of ['Page', 'Log', 'Runtime', 'Network', 'Accessibility', 'DOM']) await here(`${domain}.enable`)
    const isLoaded = new Promise<void>((resolve) => {
      loaded = resolve
    })
    await here('Page.navigate', { url: pathToFileURL(file).href })
    await isLoaded

    const evaluate = async <T>(expression: string): Promise<T> => {
      const { result } = await here<{ result: { value: T } }>('Runtime.evaluate', { expression, returnByValue: true })
      return result.value
    }

    return {
      problems,
      requests,
      evaluate,
      async namesOf(role) {
        const { root } = await here<{ root: { nodeId: number } }>('DOM.getDocument')
        type Node = { ignored: boolean; name?: { value: string } }
        const { nodes } = await here<{ nodes: Node[] }>('Accessibility.queryAXTree', { nodeId: root.nodeId, role })
        return nodes.filter(({ ignored }) => !ignored).map(({ name }) => name?.value ?? '')
      },
      async show(look, width, height = 900) {
        const features = [{ name: 'prefers-color-scheme', value: look }]
        await here('Emulation.setEmulatedMedia', { features })
        await here('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false })
      },
      async picture(to, from) {
        const bottom = (selector: string, side: 'top' | 'bottom') =>
          `document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect().${side} + scrollY`
        const top = from === undefined ? '0' : `${bottom(from, 'top')} - 12`
        const [y, end, width] = await evaluate<[number, number, number]>(
          `[${top}, ${bottom(to, 'bottom')} + ${from === undefined ? 16 : 2}, innerWidth]`,
        )
        const clip = { x: 0, y: Math.round(y), width, height: Math.round(end - y), scale: 1 }
        const { data } = await here<{ data: string }>('Page.captureScreenshot', { clip, captureBeyondViewport: true })
        return Buffer.from(data, 'base64')
      },
    }
  }

  async function close(): Promise<void> {
    await ask('Browser.close').catch(() => child.kill('SIGKILL'))
    await ended
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
  }

  return { open, close }
}
