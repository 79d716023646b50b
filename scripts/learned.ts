#!/usr/bin/env -S npx tsx
/** The learned remedies: what healed the same failure twice, for a human to approve or reject. */
import { describeRemedy, type LearnedRemedy, readRemedies, setStatus } from '../lib/doctor/memory.ts'
import { print, runByHand, stop } from '../lib/tier/by-hand.ts'
import { EXIT } from '../lib/tier/contract.ts'
import { loadSettings } from '../lib/tier/settings.ts'

const USAGE = `Lists what healed the same failure twice, and takes your decision. Level 2 applies an approved remedy before it calls a
doctor, and drops it after one failure.

  npm run learned                          list
  npm run learned approve <fingerprint>    Level 2 may apply it
  npm run learned reject <fingerprint>     never

LEARNED_REMEDIES=on approves by itself, off forgets everything.
Exit codes: 0 done, 1 there is no such remedy, 2 unusable arguments or settings.`

const words = process.argv.slice(2)
const [command = 'list', fingerprint, ...more] = words

await runByHand('learned', () => {
  if (/^(?:--help|-h|help)$/.test(command)) return print(USAGE)
  const settings = loadSettings()
  if (command === 'list' && fingerprint === undefined) {
    const { value, problem } = readRemedies(settings, false)
    if (problem) process.stderr.write(`learned: ${problem}\n`)
    if (value.length > 0) return print(value.map(described).join('\n\n'))
    return print('Nothing was learned yet. A remedy is proposed when it healed the same failure twice.')
  }
  if (!/^(?:approve|reject)$/.test(command) || fingerprint === undefined || more.length > 0)
    throw stop(EXIT.unusable, `${words.join(' ')}: expected approve or reject, and a fingerprint\n\n${USAGE}`)
  const decision = command === 'approve' ? 'approved' : 'rejected'
  // What was proposed comes first: the same failure may have been healed in another way, too.
  const all = ['proposed', 'seen', 'approved', 'rejected', 'dropped'] as const
  const from = all.filter((status) => status !== decision)
  const one = setStatus(settings, fingerprint, decision, from)
  if (!one) throw stop(EXIT.down, `there is no remedy ${fingerprint} to ${command}; \`npm run learned\` lists them`)
  const done = command === 'approve' ? 'approved: Level 2 applies it before it calls a doctor' : 'rejected'
  return print(`${done}\n${described(one)}`)
})

function described(one: LearnedRemedy): string {
  const healed = one.healed === 1 ? 'once' : `${one.healed} times`
  return `${one.fingerprint}  ${one.status}, healed ${healed}, last change ${one.at}
  failure: ${one.verdict}: ${one.evidence}
  remedy:  ${describeRemedy(one)}`
}
