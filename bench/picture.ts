/** Bars as SVG, for the README. */
import type { Cost } from './tick.ts'

const BAR = 22
const LEFT = 110
const WIDTH = 420

export function picture(title: string, results: readonly Cost[]): string {
  const most = Math.max(...results.map(({ cpuMs }) => cpuMs.median))
  const bars = results.map(({ name, cpuMs, ratio }, i) => {
    const y = 40 + i * (BAR + 6)
    const width = Math.max(1, Math.round((cpuMs.median / most) * WIDTH))
    const fill = i < 2 ? '#9aa5b1' : '#2f6fab'
    return `<text x="${LEFT - 8}" y="${y + 15}" text-anchor="end">${name}</text><rect x="${LEFT}" y="${y}" width="${width}" height="${BAR}" fill="${fill}"/><text x="${LEFT + width + 6}" y="${y + 15}">${cpuMs.median} (×${ratio})</text>`
  })
  const height = 50 + results.length * (BAR + 6)
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${LEFT + WIDTH + 90}" height="${height}" font-family="sans-serif" font-size="13" fill="#222"><title>${title}</title><rect width="100%" height="100%" fill="#fff"/><text x="12" y="22" font-weight="bold">${title}</text>${bars.join('')}</svg>\n`
}
