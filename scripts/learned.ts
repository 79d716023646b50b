#!/usr/bin/env -S npx tsx
/**
 * The learned remedies: what healed the same failure twice, for a human to approve or reject.
 *
 * Usage: npm run learned · npm run learned approve <fingerprint> · npm run learned reject <fingerprint>
 * Exit 0 done, 1 there is no such remedy, 2 unusable arguments or settings.
 */
import { describeRemedy, findRemedy, type LearnedRemedy, readRemedies, setStatus } from '../lib/doctor/learned.ts'
import { loadSettings, SettingsError } from '../lib/tier/settings.ts'

const USAGE = `Lists what healed the same failure twice, and takes your decision. Level 2 applies an approved remedy before it calls a
doctor, and drops it after one failure.

  npm run learned                          list
  npm run learned approve <fingerprint>    Level 2 may apply it
  npm run learned reject <fingerprint>     never
  npm run learned dry-run approve <…>      say what would be done; change nothing

LEARNED_REMEDIES=on approves by itself, off forgets everything.
Exit codes: 0 done, 1 there is no such remedy, 2 unusable arguments or settings.`

const words = process.argv.slice(2)
const isDryRun = words.some((word) => /^(?:--)?dry-run$/.test(word))
const [command = 'list', fingerprint, ...more] = words.filter((word) => !/^(?:--)?dry-run$/.test(word))

try {
  main()
} catch (error) {
  if (!(error instanceof SettingsError)) throw error
  process.stderr.write(`learned: ${error.message}\n`)
  process.exitCode = 2
}

function main(): void {
  if (/^(?:--help|-h|help)$/.test(command)) {
    process.stdout.write(`${USAGE}\n`)
    return
  }
  const settings = loadSettings()
  if (command === 'list' && fingerprint === undefined) {
    list(readRemedies(settings, true))
    return
  }
  if (!/^(?:approve|reject)$/.test(command) || fingerprint === undefined || more.length > 0) {
    process.stderr.write(`learned: ${words.join(' ')}: expected approve or reject, and a fingerprint\n\n${USAGE}\n`)
    process.exitCode = 2
    return
  }
  const decision = command === 'approve' ? 'approved' : 'rejected'
  // What was proposed comes first: the same failure may have been healed in another way, too.
  const from = (['proposed', 'seen', 'approved', 'rejected', 'dropped'] as const).filter(
    (status) => status !== decision,
  )
  const one = isDryRun
    ? findRemedy(readRemedies(settings, true).value, fingerprint, from)
    : setStatus(settings, fingerprint, decision, from)
  if (!one) {
    process.stderr.write(`learned: there is no remedy ${fingerprint} to ${command}; \`npm run learned\` lists them\n`)
    process.exitCode = 1
    return
  }
  const done = command === 'approve' ? 'approved: Level 2 applies it before it calls a doctor' : 'rejected'
  process.stdout.write(`${isDryRun ? 'would be ' : ''}${done}\n${described(one)}\n`)
}

function list({ value, problem }: { value: LearnedRemedy[]; problem?: string }): void {
  if (problem) process.stderr.write(`learned: ${problem}\n`)
  if (value.length === 0)
    process.stdout.write('Nothing was learned yet. A remedy is proposed when it healed the same failure twice.\n')
  else process.stdout.write(`${value.map(described).join('\n\n')}\n`)
}

function described(one: LearnedRemedy): string {
  return [
    `${one.fingerprint}  ${one.status}, healed ${one.healed === 1 ? 'once' : `${one.healed} times`}, last change ${one.at}`,
    `  failure: ${one.verdict}: ${one.evidence}`,
    `  remedy:  ${describeRemedy(one)}`,
  ].join('\n')
}
