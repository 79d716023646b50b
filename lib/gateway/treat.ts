/** What each level may do about each verdict: the one table to read to know the whole system. */
export type Remedy =
  /** All is well. */
  | 'nothing'
  /** Give it the time it needs; then it counts as hung. */
  | 'wait'
  /** Say it, and do nothing. */
  | 'report'
  /** Ask the process to restart itself by the signal its version understands; if that does not help, restart it. */
  | 'signal, else restart'
  /** End it and start it, through its supervisor or as a bare process. */
  | 'restart'
  /** Start it: bootstrap an unloaded job, reset a parked one, kickstart, or start a bare process. */
  | 'start'
  /** Start it once in this trouble. */
  | 'start once'
  /** Roll the config back to the last one that it was healthy on, validate, start; undone when it does not help. */
  | 'put back known-good config'
  /** Escalate at once: nothing at this level can help. */
  | 'hand on'
  /** An AI doctor with the instruments of lib/doctor. */
  | 'doctor'
  /** No machine may fix this: MANUAL INTERVENTION REQUIRED, at once. */
  | 'human'

export interface Treatment {
  /** What the verdict means, for the README. */
  means: string
  level1: Remedy
  level2: Remedy
  level3: Remedy
  /** Why so, and not a restart. */
  because: string
}

export const TREATMENTS = {
  healthy: {
    means: 'it says that it is the gateway and that it is live',
    level1: 'nothing',
    level2: 'nothing',
    level3: 'nothing',
    because: 'a dead channel, a broken config, a filling disk, a refused token are told: a restart helps none of them',
  },
  starting: {
    means: 'its process lives and has not come up yet',
    level1: 'wait',
    level2: 'wait',
    level3: 'wait',
    because: 'a boot with a migration takes minutes; a restart begins it anew',
  },
  draining: {
    means: 'it finishes its work before a restart or a stop',
    level1: 'wait',
    level2: 'wait',
    level3: 'wait',
    because: 'the restart is already under way, and killing it loses work',
  },
  hung: {
    means: 'its process lives and does not answer as it should',
    level1: 'signal, else restart',
    level2: 'restart',
    level3: 'doctor',
    because: 'only a process that answers HTTP would notice a signal',
  },
  absent: {
    means: 'there is no process',
    level1: 'start',
    level2: 'restart',
    level3: 'doctor',
    because: 'it crashed and nobody started it again',
  },
  unloaded: {
    means: 'its job is not loaded, and nobody stopped it deliberately',
    level1: 'start',
    level2: 'start',
    level3: 'doctor',
    because: 'kickstart cannot start a job that launchd does not have: bootstrap can',
  },
  parked: {
    means: 'its supervisor gave up starting it',
    level1: 'start',
    level2: 'start',
    level3: 'doctor',
    because: 'KeepAlive does not come back from this by itself',
  },
  misconfigured: {
    means: 'its config keeps it from starting',
    level1: 'hand on',
    level2: 'put back known-good config',
    level3: 'doctor',
    because: 'it would exit 78 again',
  },
  impostor: {
    means: 'somebody else has its port',
    level1: 'hand on',
    level2: 'hand on',
    level3: 'human',
    because: 'a foreign process is never killed; whose port it is, a human decides',
  },
  orphan: {
    means: 'it is up, but not as the process that its supervisor has',
    level1: 'report',
    level2: 'report',
    level3: 'report',
    because: 'the service works, and ending it would cost work; which of the two shall run, a human decides',
  },
  'broken-install': {
    means: 'its package or its Node is damaged or gone',
    level1: 'hand on',
    level2: 'hand on',
    level3: 'doctor',
    because: 'the doctor may reinstall the same version; a restart runs the same broken files',
  },
  blocked: {
    means: 'it refuses to start: a secret is missing',
    level1: 'hand on',
    level2: 'start once',
    level3: 'human',
    because: 'one start more, for a secret store that was late; secrets are a human’s',
  },
  'unusable-state': {
    means: 'it refuses to start: its database is newer than it, or damaged',
    level1: 'hand on',
    level2: 'hand on',
    level3: 'human',
    because: 'it would refuse again, and what happens to the data a human decides',
  },
  'disk-full': {
    means: 'it is down and its disk has no room',
    level1: 'hand on',
    level2: 'hand on',
    level3: 'human',
    because: 'each start writes more; what may be deleted a human decides',
  },
  'stopped-on-purpose': {
    means: 'somebody stopped it',
    level1: 'report',
    level2: 'report',
    level3: 'report',
    because: 'a deliberate stop is not undone',
  },
} as const satisfies Record<string, Treatment>

export type Verdict = keyof typeof TREATMENTS

/** True when no restart at level 1 or 2 can help: their retries are skipped. */
export function restartCannotHelp(verdict: Verdict): boolean {
  return TREATMENTS[verdict].level2 === 'hand on'
}

/** The README's table of verdicts and remedies. */
export function treatmentTable(): string {
  const rows = Object.entries(TREATMENTS).map(
    ([verdict, { means, level1, level2, level3, because }]) =>
      `| **${verdict}** | ${means} | ${level1} | ${level2} | ${level3} | ${because} |`,
  )
  return ['| verdict | means | Level 1 | Level 2 | Level 3 | why |', '|---|---|---|---|---|---|', ...rows].join('\n')
}
