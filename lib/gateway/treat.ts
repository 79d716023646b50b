/** What each level may do about each verdict: the one table to read to know the whole system. */
type Left = 'nothing' | 'wait' | 'report' | 'escalate'
type Start = 'start' | 'start once' | 'restart' | 'signal, else restart'
type Repair = 'put back known-good config' | 'finish migration' | 'doctor' | 'human'
type Remedy = Left | Start | Repair

const levels = (level1: Remedy, level2: Remedy, level3: Remedy) => ({ level1, level2, level3 })

export const TREATMENTS = {
  healthy: {
    means: 'it says that it is the gateway and that it is live',
    ...levels('nothing', 'nothing', 'nothing'),
    because:
      'a dead channel, a broken config, a filling disk, a refused token cause a notice: a restart fixes none of them',
  },
  starting: {
    means: 'its process runs and has not come up yet',
    ...levels('wait', 'wait', 'wait'),
    because: 'startup with a migration takes minutes; a restart begins it again',
  },
  draining: {
    means: 'it finishes its work before a restart or a stop',
    ...levels('wait', 'wait', 'wait'),
    because: 'the restart is already under way, and killing it loses work',
  },
  hung: {
    means: 'its process runs and does not answer as it should',
    ...levels('signal, else restart', 'restart', 'doctor'),
    because: 'only a process that answers HTTP would notice a signal',
  },
  absent: {
    means: 'there is no process',
    ...levels('start', 'restart', 'doctor'),
    because: 'it crashed and was not started again',
  },
  unloaded: {
    means: 'its job is not loaded, and it was not stopped on purpose',
    ...levels('start', 'start', 'doctor'),
    because: 'kickstart cannot start a job that launchd does not have: bootstrap can',
  },
  'crash-looping': {
    means: 'its processes end again and again, and its supervisor starts it again and again',
    ...levels('escalate', 'escalate', 'doctor'),
    because: 'its supervisor restarts it already; one restart more changes nothing',
  },
  unknown: {
    means: 'it failed to start, for a reason that is not known',
    ...levels('start', 'start', 'doctor'),
    because: 'a failure that came twice with the same words would come a third time',
  },
  parked: {
    means: 'its supervisor gave up starting it',
    ...levels('start', 'start', 'doctor'),
    because: 'KeepAlive does not come back from this by itself',
  },
  misconfigured: {
    means: 'its config keeps it from starting',
    ...levels('escalate', 'put back known-good config', 'doctor'),
    because: 'it would refuse its config again',
  },
  impostor: {
    means: 'another process has its port',
    ...levels('escalate', 'escalate', 'human'),
    because: 'a foreign process is never killed; whose port it is needs a human decision',
  },
  orphan: {
    means: 'it is up, but not as the process that its supervisor has',
    ...levels('report', 'report', 'report'),
    because: 'the service works, and ending it would cost work; which of the two runs needs a human decision',
  },
  'broken-install': {
    means: 'its package or its Node is damaged or gone',
    ...levels('escalate', 'escalate', 'doctor'),
    because: 'the doctor may reinstall the same version; a restart runs the same broken files',
  },
  blocked: {
    means: 'it refuses to start: a secret is missing, or the right to write a file',
    ...levels('escalate', 'start once', 'human'),
    because: 'one start more, for a secret store or a disk that was late; a secret or a right needs a human',
  },
  'unusable-state': {
    means: 'it refuses to start: its database or config is newer than it, or its database is damaged',
    ...levels('escalate', 'escalate', 'human'),
    because: 'it would refuse again, and what happens to the data needs a human decision',
  },
  'disk-full': {
    means: 'it is down and its disk is full',
    ...levels('escalate', 'escalate', 'human'),
    because: 'each start writes more; what may be deleted needs a human decision',
  },
  'needs-migration': {
    means: 'it refuses to start: a migration of its data is not complete',
    ...levels('start once', 'finish migration', 'doctor'),
    because: 'a busy machine may have cut it off; else OpenClaw’s own `doctor --fix` finishes it',
  },
  'refused-by-another-gateway': {
    means: 'it refuses to start: another OpenClaw process holds its place or its data',
    ...levels('escalate', 'start once', 'human'),
    because: 'one start more, for one that was about to end; which of the two runs needs a human decision',
  },
  'supervised-elsewhere': {
    means: 'it is down, and only its own supervisor may start it',
    ...levels('escalate', 'wait', 'human'),
    because: 'a gateway started beside its supervisor would fight it for the port; a person has to start it',
  },
  'stopped-on-purpose': {
    means: 'it was stopped by a user',
    ...levels('report', 'report', 'report'),
    because: 'a deliberate stop is not undone',
  },
}

export type Verdict = keyof typeof TREATMENTS
