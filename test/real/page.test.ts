/**
 * The page in a real Chromium, in light and dark and as narrow as a phone. The pictures of README and docs/report.md are taken here:
 * `UPDATE_PICTURES=1 npx vitest run --project real test/real/page` writes them to docs/.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { lastDays } from '../../lib/incidents/history.ts'
import { asPage } from '../../lib/report/html.ts'
import { readReport } from '../../lib/report/report.ts'
import { MARKER } from '../../lib/tier/contract.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { at, pastLogs, WEEK_ENDS, writeWeek } from '../support/week.ts'

// Without types: it is installed with the tests' real parts only.
const { chromium } = createRequire(join(import.meta.dirname, 'parts', 'browser', 'package.json'))('playwright-core')
const PICTURES = join(import.meta.dirname, '..', '..', 'docs')
/** Whether anything sticks out to the right. */
const OVERFLOW = 'document.documentElement.scrollWidth - document.documentElement.clientWidth'

/** Contrast by WCAG 2.2 of every visible text with what is behind it; those below 4.5. */
const TOO_FAINT = `(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number)
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
  const behind = (node) => { for (; node; node = node.parentElement) { const c = rgb(getComputedStyle(node).backgroundColor)
    if (c.length === 3 || c[3] === 1) return c } return [255, 255, 255] }
  const texts = [...document.querySelectorAll('body *')].filter((node) => [...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
  return texts.flatMap((node) => {
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x)
    const contrast = (a + 0.05) / (b + 0.05)
    return contrast < 4.5 ? [node.className + ' ' + node.textContent.slice(0, 30) + ' ' + contrast.toFixed(2)] : []
  })
})()`

const NASTY = `<script>document.title='taken'</script><img src=x onerror="document.title='taken'"><a href="javascript:0">x</a></code></details>"' ${'W'.repeat(250)}`

test('the page of a week can be read in light, in dark and on a phone, loads nothing, and nothing in it comes alive', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'oc-page-'))
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium' })
  onTestFinished(async () => {
    await browser.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const open = async (name: string, host: string, write: (memoryDir: string) => void) => {
    const home = join(folder, name)
    const settings = loadSettings({ HOME: home })
    mkdirSync(settings.memoryDir, { recursive: true })
    write(settings.memoryDir)
    const now = at(WEEK_ENDS)
    const file = join(home, 'report.html')
    writeFileSync(file, asPage({ ...(await readReport(settings, lastDays(7, now), now)), host }))
    const page = await browser.newPage()
    const problems: string[] = []
    const requests: string[] = []
    for (const event of ['console', 'pageerror', 'requestfailed'])
      page.on(event, (what: { text?: () => string }) => problems.push(`${event}: ${what.text?.() ?? what}`))
    page.on('request', (request: { url: () => string }) => requests.push(request.url()))
    await page.goto(pathToFileURL(file).href)
    const evaluate = <T>(expression: string): Promise<T> => page.evaluate(expression)
    const show = async (colorScheme: 'light' | 'dark', width: number) => {
      await page.emulateMedia({ colorScheme })
      await page.setViewportSize({ width, height: 900 })
    }
    return { page, problems, requests, evaluate, show }
  }

  const { page, problems, requests, evaluate, show } = await open('week', 'mac-mini', writeWeek)
  for (const look of ['light', 'dark'] as const) {
    for (const width of [1000, 360]) {
      await show(look, width)
      expect(await evaluate(OVERFLOW), `${look} at ${width}`).toBe(0)
    }
    expect(await evaluate<string[]>(TOO_FAINT), look).toEqual([])
    // An outage of seconds is still seen in a strip of a day.
    const widths = `[...document.querySelectorAll('.strip .down')].map((one) => one.getBoundingClientRect().width)`
    expect((await evaluate<number[]>(widths)).map((width) => width >= 3)).toEqual([true, true, true, true])
    await show(look, 880)
    await evaluate('scrollTo(0, 0)')
    const { y, height } = await page.locator('section:nth-of-type(2)').boundingBox()
    const clip = { x: 0, y: 0, width: 880, height: Math.round(y + height) + 16 }
    const pictures: Record<string, Buffer> = {
      report: await page.screenshot({ clip, fullPage: true }),
      incident: await page.locator('details:nth-of-type(3)').screenshot(),
    }
    for (const [name, picture] of Object.entries(pictures)) {
      expect(picture.length).toBeGreaterThan(20_000)
      if (process.env.UPDATE_PICTURES) writeFileSync(join(PICTURES, `${name}-${look}.png`), picture)
    }
  }
  // The pictures have words for those who cannot see them.
  const names = [...(await page.locator('body').ariaSnapshot()).matchAll(/\bimg "(.*)"/g)].map((m) => m[1])
  expect(names).toHaveLength(8)
  expect(names.slice(2, 5)).toEqual([
    'Tue 17 Nov: up 24 h, down 20 s',
    'Wed 18 Nov: up 23 h 42 min, down 18 min',
    'Thu 19 Nov: up 22 h 57 min, not known 63 min',
  ])
  expect(problems).toEqual([])
  expect(requests).toEqual([expect.stringMatching(/^file:.*report\.html$/)])

  const says = { 0: MARKER.down('hung', NASTY), 1: MARKER.manual(NASTY) }
  const hostile = await open('hostile', `<b onclick=x>${NASTY}`, (dir) =>
    pastLogs(dir).run('watchdog', '2026-11-20 10:00:00', { verdict: 'hung', exitCode: 1, says }),
  )
  await hostile.show('light', 360)
  expect(await hostile.evaluate('document.title')).toContain('<b onclick=x><script>')
  const alive = `document.querySelectorAll('script, img, a, iframe, [onerror], [onclick]').length`
  expect(await hostile.evaluate(alive)).toBe(0)
  expect(await hostile.evaluate(`document.querySelector('details code').textContent`)).toContain('<img src=x onerror=')
  expect(await hostile.evaluate(OVERFLOW)).toBe(0)
  expect([hostile.requests.length, hostile.problems]).toEqual([1, []])
})
