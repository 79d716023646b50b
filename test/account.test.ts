/** Who gets the credit for a recovery. */
import { expect, test } from 'vitest'
import { type Account, isCredit } from '../lib/doctor/account.ts'

const at = (second: number) => new Date(Date.UTC(2026, 10, 22, 2, 0, second))
const WELL = at(30).getTime()

function account(deed: { rule: string; second: number; allow?: boolean }, prompted = true): Account {
  const { rule, second, allow = true } = deed
  return {
    visit: { ending: 'recovered', detail: '', prompted, healthySince: WELL },
    decisions: [{ at: at(second), allow, tool: 'Bash', rule, call: 'openclaw gateway restart', reason: '' }],
    seconds: 60,
    isUp: true,
  }
}

test.each<[string, Account, boolean]>([
  ['a restart before it was well', account({ rule: 'restart', second: 12 }), true],
  ['a restart in the second in which it was well', account({ rule: 'restart', second: 30 }), true],
  ['a restart when it was well already', account({ rule: 'restart', second: 31 }), false],
  ['a look at the logs', account({ rule: 'diagnose', second: 12 }), false],
  ['a restart that the guard refused', account({ rule: 'restart', second: 12, allow: false }), false],
  ['no prompt', account({ rule: 'restart', second: 12 }, false), false],
  ['it is down', { ...account({ rule: 'restart', second: 12 }), isUp: false }, false],
])('credit for the doctor: %s', (_, given, expected) => {
  expect(isCredit(given)).toBe(expected)
})
