/** Bars as SVG, for the README. */

export interface Bar {
  name: string
  value: number
  label: string
  /** Drawn as what the others are measured against. */
  isFloor: boolean
}

const BAR = 22
const LEFT = 110
const WIDTH = 420

export function bars(title: string, shown: readonly Bar[]): string {
  const most = Math.max(...shown.map(({ value }) => value))
  const drawn = shown.map(({ name, value, label, isFloor }, i) => {
    const y = 40 + i * (BAR + 6)
    const width = Math.max(1, Math.round((value / most) * WIDTH))
    const fill = isFloor ? '#9aa5b1' : '#2f6fab'
    return `<text x="${LEFT - 8}" y="${y + 15}" text-anchor="end">${name}</text><rect x="${LEFT}" y="${y}" width="${width}" height="${BAR}" fill="${fill}"/><text x="${LEFT + width + 6}" y="${y + 15}">${label}</text>`
  })
  return svg(title, LEFT + WIDTH + 130, 50 + shown.length * (BAR + 6), drawn)
}

function svg(title: string, width: number, height: number, parts: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="13" fill="#222"><title>${title}</title><rect width="100%" height="100%" fill="#fff"/><text x="12" y="22" font-weight="bold">${title}</text>${parts.join('')}</svg>\n`
}
