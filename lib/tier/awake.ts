const BEAT_MS = 5000
const ASLEEP_MS = 60_000

let lastMs = performance.now()
let awakeMs = lastMs

/** How long this process has been awake. Time in which it was stopped or its machine slept does not count, and no clock that is set changes it. */
export function awakeSec(): number {
  const nowMs = performance.now()
  if (nowMs - lastMs < ASLEEP_MS) awakeMs += nowMs - lastMs
  lastMs = nowMs
  return awakeMs / 1000
}

setInterval(awakeSec, BEAT_MS).unref()
