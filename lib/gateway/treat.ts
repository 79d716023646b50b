/** What each level may do about each verdict, and what is left to a person who was woken up (`todo`: first what helps, then what not
 * to do; `advice.ts` fills in what stands in braces): the one table to read to know the whole system. */
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
    todo: ['nothing: it works; if it does not answer all the same, `openclaw status` says what is wrong'],
  },
  starting: {
    means: 'its process runs and has not come up yet',
    ...levels('wait', 'wait', 'wait'),
    because: 'startup with a migration takes minutes; a restart begins it again',
    todo: [
      'wait: a start may take minutes; `npm run status -- --watch` shows when it is up',
      'do not restart it: it would begin again',
    ],
  },
  draining: {
    means: 'it finishes its work before a restart or a stop',
    ...levels('wait', 'wait', 'wait'),
    because: 'the restart is already under way, and killing it loses work',
    todo: [
      'wait: it comes back when its work is done; `openclaw gateway status` shows it',
      'do not kill it: what it is finishing would be lost',
    ],
  },
  hung: {
    means: 'its process runs and does not answer as it should',
    ...levels('signal, else restart', 'restart', 'doctor'),
    because: 'only a process that answers HTTP would notice a signal',
    todo: [
      'restart it with `openclaw gateway restart`; `openclaw logs` says what it did last',
      'do not start a second one beside it: the two would fight for its port',
    ],
  },
  absent: {
    means: 'there is no process',
    ...levels('start', 'restart', 'doctor'),
    because: 'it crashed and was not started again',
    todo: [
      'start it with `openclaw gateway restart`; `openclaw logs` says how it ended',
      'do not run it in a terminal instead: it would end with the terminal',
    ],
  },
  unloaded: {
    means: 'its job is not loaded, and it was not stopped on purpose',
    ...levels('start', 'start', 'doctor'),
    because: 'kickstart cannot start a job that launchd does not have: bootstrap can',
    todo: [
      'start it with `openclaw gateway start`; if there is no service any more, `openclaw gateway install`',
      'do not run it in a terminal instead: it would end with the terminal',
    ],
  },
  'crash-looping': {
    means: 'its processes end again and again, and its supervisor starts it again and again',
    ...levels('escalate', 'escalate', 'doctor'),
    because: 'its supervisor restarts it already; one restart more changes nothing',
    todo: [
      'end the loop with `openclaw gateway stop`, read why in `openclaw logs`, mend that, then `openclaw gateway start`',
      'do not restart it once more: its supervisor does that already',
    ],
  },
  unknown: {
    means: 'it failed to start, for a reason that is not known',
    ...levels('start', 'start', 'doctor'),
    because: 'a failure that came twice with the same words would come a third time',
    todo: [
      'read its last words above, and more with `openclaw logs`; mend that, then `openclaw gateway restart`',
      'do not start it again and again: it would end with the same words',
    ],
  },
  parked: {
    means: 'its supervisor gave up starting it',
    ...levels('start', 'start', 'doctor'),
    because: 'KeepAlive does not come back from this by itself',
    todo: [
      'read why it ended in `openclaw logs`, mend that, then `openclaw gateway restart`',
      'do not only restart it: its supervisor would give up again',
    ],
  },
  misconfigured: {
    means: 'its config keeps it from starting',
    ...levels('escalate', 'put back known-good config', 'doctor'),
    because: 'it would refuse its config again',
    todo: [
      'see what is wrong with `openclaw config validate`, and correct it in {config}{knownGood}; then `openclaw gateway restart`',
      'do not delete the file: nobody else has your settings',
    ],
  },
  impostor: {
    means: 'another process has its port',
    ...levels('escalate', 'escalate', 'human'),
    because: 'a foreign process is never killed; whose port it is needs a human decision',
    todo: [
      'see what it is with {owner}; end it, or give one of the two another port; then `openclaw gateway restart`',
      'do not restart the gateway before: it would find its port taken',
    ],
  },
  orphan: {
    means: 'it is up, but not as the process that its supervisor has',
    ...levels('report', 'report', 'report'),
    because: 'the service works, and ending it would cost work; which of the two runs needs a human decision',
    todo: [
      'nothing is down: in a quiet hour end it with `kill {pid}`, then `openclaw gateway restart`',
      'do not end it now: its work would be lost, and it answers',
    ],
  },
  'broken-install': {
    means: 'its package or its Node is damaged or gone',
    ...levels('escalate', 'escalate', 'doctor'),
    because: 'the doctor may reinstall the same version; a restart runs the same broken files',
    todo: [
      'reinstall the version that you had with `npm install -g openclaw@{version}`, then `openclaw gateway restart`',
      'do not update to another version tonight: that may migrate its data',
    ],
  },
  blocked: {
    means: 'it refuses to start: a secret is missing, or the right to write a file',
    ...levels('escalate', 'start once', 'human'),
    because: 'one start more, for a secret store or a disk that was late; a secret or a right needs a human',
    todo: [
      'give it the secret, or the right to the file, that its words name; then `openclaw gateway restart`',
      'do not run it as root: what it writes then is closed to its own account',
    ],
  },
  'unusable-state': {
    means: 'it refuses to start: its database or config is newer than it, or its database is damaged',
    ...levels('escalate', 'escalate', 'human'),
    because: 'it would refuse again, and what happens to the data needs a human decision',
    todo: [
      'when version and data fit again, or a backup is restored, start it with `openclaw gateway restart`',
      'do not delete its data, and do not let another version try',
    ],
  },
  'disk-full': {
    means: 'it is down and its disk is full',
    ...levels('escalate', 'escalate', 'human'),
    because: 'each start writes more; what may be deleted needs a human decision',
    todo: [
      'free some space: `df -h ~` says how much there is, `du -sh {folders}` what takes it; then `openclaw gateway restart`',
      'do not delete {state}: its config and its data are in it',
    ],
  },
  'needs-migration': {
    means: 'it refuses to start: a migration of its data is not complete',
    ...levels('start once', 'finish migration', 'doctor'),
    because: 'a busy machine may have cut it off; else OpenClaw’s own `doctor --fix` finishes it',
    todo: [
      'finish it with `openclaw doctor --fix --yes --non-interactive`, then `openclaw gateway restart`',
      'do not cut it off: a migration may take minutes',
    ],
  },
  'refused-by-another-gateway': {
    means: 'it refuses to start: another OpenClaw process holds its place or its data',
    ...levels('escalate', 'start once', 'human'),
    because: 'one start more, for one that was about to end; which of the two runs needs a human decision',
    todo: [
      'see who runs with `openclaw gateway status --deep`; end the other one, then `openclaw gateway restart`, or use that one',
      'do not delete a lock or data while the other one runs',
    ],
  },
  'supervised-elsewhere': {
    means: 'it is down, and only its own supervisor may start it',
    ...levels('escalate', 'wait', 'human'),
    because: 'a gateway started beside its supervisor would fight it for the port; a person has to start it',
    todo: [
      'start it with {start}; nothing here may do that',
      'do not start it in another way: the two would fight for its port',
    ],
  },
  'stopped-on-purpose': {
    means: 'it was stopped by a user',
    ...levels('report', 'report', 'report'),
    because: 'a deliberate stop is not undone',
    todo: [
      'nothing, if it is to stay stopped; else `openclaw gateway start`',
      'do not wait for self-healing: it leaves a deliberate stop alone',
    ],
  },
}

export type Verdict = keyof typeof TREATMENTS
