/** The gateway's memory against the two thresholds: noticed once per crossing, not at every tick. */

export type MemoryLevel = 'ok' | 'warning' | 'critical'

export interface MemoryNotice {
  level: MemoryLevel
  /** What to say, when a threshold was crossed since the last tick; undefined when nothing changed. */
  notice: string | undefined
}

/**
 * @param before the level at the last tick
 * @param memoryMb resident memory now
 */
export function noticeMemory(
  before: MemoryLevel,
  memoryMb: number,
  limits: { warnMb: number; criticalMb: number },
): MemoryNotice {
  const level: MemoryLevel = memoryMb >= limits.criticalMb ? 'critical' : memoryMb >= limits.warnMb ? 'warning' : 'ok'
  if (level === before) return { level, notice: undefined }
  const at = {
    ok: `below ${limits.warnMb} MB again`,
    warning: `over ${limits.warnMb} MB`,
    critical: `over ${limits.criticalMb} MB`,
  }
  return { level, notice: `memory ${level}: the gateway uses ${memoryMb} MB, ${at[level]}` }
}
