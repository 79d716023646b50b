/**
 * The page in a real Chromium, in light and dark and as narrow as a phone. The pictures of the README are taken here:
 * `UPDATE_PICTURES=1 npm run test:report` writes them to docs/.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { lastDays } from '../../lib/incidents/history.ts'
import { asPage } from '../../lib/report/html.ts'
import { readReport } from '../../lib/report/report.ts'
import { MARKER } from '../../lib/tier/contract.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { type Browser, type Look, type Page, startBrowser } from '../support/browser.ts'
import { at, pastLogs, WEEK_ENDS, writeWeek } from '../support/week.ts'

const PICTURES = join(import.meta.dirname, '..', '..', 'docs')
const LOOKS: Look[] = ['light', 'dark']
const WIDE = 1000
const PHONE = 360

let browser: Browser
let folder: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'oc-page-'))
  browser = await startBrowser()
})
afterAll(async () => {
  await browser?.close()
  rmSync(folder, { recursive: true, force: true })
})

async function openReport(name: string, write: (memoryDir: string) => void, host = 'mac-mini'): Promise<Page> {
  const home = join(folder, name)
  const settings = loadSettings({ HOME: home })
  mkdirSync(settings.memoryDir, { recursive: true })
  write(settings.memoryDir)
  const now = at(WEEK_ENDS)
  const report = await readReport(settings, lastDays(7, now), now)
  const file = join(home, 'report.html')
  writeFileSync(file, asPage({ ...report, host }))
  return browser.open(file)
}

/** Labels of an axis that do not stand on one line. */
const BROKEN_LABELS = `[...document.querySelectorAll('.axis span')].filter((one) => one.getClientRects().length !== 1 || one.offsetHeight > 26).map((one) => one.textContent)`

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

test('the page of the week: nothing is fetched, refused or complained about, and no text is too faint or cut off', async () => {
  const page = await openReport('week', writeWeek)
  for (const look of LOOKS) {
    for (const width of [WIDE, PHONE]) {
      await page.show(look, width)
      expect(await page.evaluate(OVERFLOW), `${look} at ${width}`).toBe(0)
      expect(await page.evaluate(BROKEN_LABELS), `${look} at ${width}`).toEqual([])
    }
    expect(await page.evaluate<string[]>(TOO_FAINT), look).toEqual([])
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe(
      look === 'dark' ? 'rgb(18, 21, 24)' : 'rgb(246, 245, 242)',
    )
  }
  expect(page.problems).toEqual([])
  expect(page.requests).toEqual([expect.stringMatching(/^file:.*report\.html$/)])
})

test('who cannot see the pictures hears what they say', async () => {
  const page = await openReport('heard', writeWeek)
  expect(await page.namesOf('image')).toEqual([
    'Sun 15 Nov: up 12 h',
    'Mon 16 Nov: up 24 h, down 12 s',
    'Tue 17 Nov: up 24 h, down 20 s',
    'Wed 18 Nov: up 23 h 42 min, down 18 min',
    'Thu 19 Nov: up 22 h 57 min, not known 63 min',
    'Fri 20 Nov: up 23 h 19 min, down 41 min',
    'Sat 21 Nov: up 17 h 57 min, not known 6 h 3 min',
    'Sun 22 Nov: up 12 h',
  ])
  expect(await page.namesOf('heading')).toEqual([
    'Self-healing of OpenClaw on mac-mini',
    'Uptime',
    'Down time by cause',
    'Incidents',
    '2026-11-16 03:14 absent',
    '2026-11-17 09:30 misconfigured',
    '2026-11-18 22:05 broken-install',
    '2026-11-20 14:00 impostor',
    'What is not known',
  ])
})

test('an outage of seconds is still seen in a strip of a week', async () => {
  const page = await openReport('seen', writeWeek)
  await page.show('light', PHONE)
  const widths = await page.evaluate<number[]>(
    `[...document.querySelectorAll('.strip .down')].map((one) => one.getBoundingClientRect().width)`,
  )
  expect(widths).toHaveLength(4)
  for (const width of widths) expect(width).toBeGreaterThanOrEqual(3)
})

test('a hostile log does not come alive in a browser', async () => {
  const nasty = `<script>document.title='taken'</script><img src=x onerror="document.title='taken'"><a href="javascript:0">x</a></code></details>"' ${'W'.repeat(250)}`
  const page = await openReport(
    'hostile',
    (dir) => {
      pastLogs(dir).run('watchdog', {
        begin: '2026-11-20 10:00:00',
        verdict: 'hung',
        exitCode: 1,
        says: [[0, MARKER.down('hung', nasty)], ...[1, 2].map((n): [number, string] => [n, MARKER.manual(nasty)])],
      })
    },
    `<b onclick=x>${nasty}`,
  )
  await page.show('light', PHONE)
  expect(await page.evaluate('document.title')).toContain('<b onclick=x><script>')
  expect(await page.evaluate(`document.querySelectorAll('script, img, a, iframe, [onerror], [onclick]').length`)).toBe(
    0,
  )
  expect(await page.evaluate(`document.querySelector('details code').textContent`)).toContain('<img src=x onerror=')
  expect(await page.evaluate(OVERFLOW)).toBe(0)
  expect(page.requests).toHaveLength(1)
  expect(page.problems).toEqual([])
})

test.each(LOOKS)('the pictures for the README, %s: small, and of something', async (look) => {
  const page = await openReport(`picture-${look}`, writeWeek)
  await page.show(look, 880)
  const pictures = {
    report: await page.picture('.two'),
    incident: await page.picture('details:nth-of-type(3)', 'details:nth-of-type(3)'),
  }
  for (const [name, picture] of Object.entries(pictures)) {
    expect(picture.subarray(1, 4).toString()).toBe('PNG')
    // A plain one of this size has less than 10 kB.
    expect(picture.length).toBeGreaterThan(30_000)
    expect(picture.length).toBeLessThan(150_000)
    if (process.env.UPDATE_PICTURES) writeFileSync(join(PICTURES, `${name}-${look}.png`), picture)
  }
})
