/**
 * The defects that the bash version of this system was seen to have, and the test that shows each one absent here. The
 * table is itself checked: a test that is renamed or removed is missed.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const DEFECTS: [number, string, string, string][] = [
  [1, '~ inside quotes is not expanded', 'settings.test.ts', "the bash version's .env works unchanged"],
  [
    2,
    'the marker written is not the marker looked for',
    'contract.test.ts',
    'the marker of Level 3 is the one that Level 4 looks for',
  ],
  [
    3,
    'Enter pressed blindly says "No, exit"',
    'emergency-recovery.test.ts',
    // It is asked nothing: it reads its briefing from standard input, and no key is ever pressed.
    'the doctor repairs what restarts cannot',
  ],
  [4, 'the command is sent instead of the log', 'monitor.test.ts', 'defect 4 of the bash version'],
  [5, 'quotes and newlines make invalid JSON', 'monitor.test.ts', 'defect 5 of the bash version'],
  [6, 'no dedupe; a failed message counts as sent', 'monitor.test.ts', 'defect 6 of the bash version'],
  [7, 'a probe without a time limit', 'watchdog.test.ts', 'a probe has a time limit'],
  [8, 'a dead gateway is only signalled', 'watchdog.test.ts', 'a gateway that was killed is started again'],
  [9, '/ asked instead of /health', 'watchdog.test.ts', 'the control UI switched off (404 on /)'],
  [10, 'a lock left by SIGKILL stops it for ever', 'watchdog-surroundings.test.ts', 'a lock left by SIGKILL'],
  [
    11,
    'settings read before .env',
    'settings.test.ts',
    'the environment wins over the .env file, and the file over the default',
  ],
  [12, 'an unreachable webhook ends the script', 'monitor.test.ts', 'defects 12 and 18 of the bash version'],
  [13, 'twelve messages in four ticks', 'monitor.test.ts', 'defects 6 and 13 of the bash version'],
  [14, 'its own prompt on the screen counts as completion', 'emergency-recovery.test.ts', "['gives up'"],
  [
    15,
    'credit for what somebody else repaired',
    'emergency-recovery.test.ts',
    'a recovery that somebody else made is not the doctor’s',
  ],
  [
    16,
    '"429" inside a pid is read as a rate limit',
    'claude-code.test.ts',
    'what an instrument answered or the doctor says about limits and logins',
  ],
  [17, 'Claude exiting early ends without a marker', 'emergency-recovery.test.ts', "['ends at its start'"],
  [18, 'a missing tool leaves no marker', 'emergency-recovery.test.ts', "['tmux', /tmux is not installed/]"],
  [19, 'two doctors at once', 'emergency-recovery.test.ts', 'a second doctor stands down while one is at work'],
  [20, '/opt/homebrew hard-coded', 'launcher.test.ts', 'PATH and Node are those of the installation'],
  [21, 'a hung process is signalled for ever', 'watchdog.test.ts', 'is killed at last, not signalled for ever'],
  [22, 'a restart in the log that never happened', 'watchdog.test.ts', 'the failed start is said, not claimed'],
  [23, 'config repair waits for exit 1', 'watchdog.test.ts', 'a gateway that refuses its valid config (exit 78)'],
  [
    24,
    'an old log outlives the repair',
    'watchdog-surroundings.test.ts',
    'an old complaint in the log does not outlive the repair',
  ],
  [
    25,
    'a script is called that does not exist',
    'architecture.test.ts',
    'imports run downwards only and name .ts files that exist',
  ],
  [26, 'a title that Discord refuses', 'monitor.test.ts', 'defect 26 of the bash version'],
  [
    27,
    'the installer saves error pages as scripts',
    'install-cases.test.ts',
    'a failing step is named, and all that this run had done is taken back',
  ],
  [28, 'launchd’s "-" taken for a hang', 'guardian.test.ts', 'missing pid between runs is no reason'],
]

test('all 28 are in the table', () => {
  expect(DEFECTS.map(([id]) => id)).toEqual(Array.from({ length: 28 }, (_, i) => i + 1))
})

test.each(DEFECTS)('defect %i, %s: there is a test against it', (_id, _what, file, title) => {
  expect(readFileSync(join(import.meta.dirname, file), 'utf8')).toContain(title)
})
