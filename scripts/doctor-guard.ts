#!/usr/bin/env -S npx tsx
// The doctor's guard. Claude Code starts it before every tool call of the emergency doctor (Level 3's run writes the
// settings that say so), gives it the call as JSON on standard input, and does what it answers: allow, or deny with a
// reason that the doctor can act on. The policy is the table in lib/doctor/guard.ts. With `hide` it is started after a
// call and takes secrets out of what the tool answered, before the model gets it.
//
// Usage: doctor-guard.ts <context.json> <seconds> [hides-output]     (the context is written by Level 3, one per run)
//        doctor-guard.ts <context.json> hide
// hides-output: `hide` is asked, too. It is not told of commands that fail, so allowed ones are run in a way that succeeds.
//
// It always exits with 0 and one line of JSON. Whatever goes wrong (bad input, a crash, too slow) is a deny: the judging
// is done in a child process that is killed at the limit, because no timer fires in a process that hangs.
// Exit codes: 0 answered, 2 could not even answer; the hook's command line turns everything else into 2, which blocks.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { answerOf, failedAnswer, isAnswer, readCall, typeScriptOptions } from '../lib/doctor/guard-hook.ts'

const [contextPath = '', limit = '25', ...modes] = process.argv.slice(2)

if (limit === 'judge') await answerCall()
else if (limit === 'hide') await hideSecrets()
else await askJudge()

/** The outer process: passes the call on and waits, no longer than the limit. */
async function askJudge(): Promise<void> {
  const script = fileURLToPath(import.meta.url)
  const argv = [...typeScriptOptions(), script, contextPath, 'judge', ...modes]
  const child = spawn(process.execPath, argv, {
    stdio: ['inherit', 'pipe', 'ignore'],
    timeout: Number(limit) * 1000,
    killSignal: 'SIGKILL',
  })
  let answer = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (answer += text))
  const code = await new Promise<number | null>((resolve) => {
    child.on('error', () => resolve(null))
    child.on('close', resolve)
  })
  if (code === 0 && isAnswer(answer)) process.stdout.write(answer)
  else process.stdout.write(`${await failed('It crashed or took too long.')}\n`)
}

/** The answer of a guard that failed, noted in the recovery log if that can still be done. */
async function failed(why: string): Promise<string> {
  const { recordFailure } = await import('../lib/doctor/guard-record.ts')
  recordFailure(contextPath, why)
  return failedAnswer(`(${why})`)
}

/** The inner process: judges the call, notes the decision in the recovery log, and prints it. */
async function answerCall(): Promise<void> {
  process.stdout.write(`${await decisionOnCall()}\n`)
}

async function decisionOnCall(): Promise<string> {
  try {
    const call = readCall(await standardInput())
    // Only here: the outer process needs nothing of it, and starts sooner without.
    const { readGuardContext } = await import('../lib/doctor/guard-context.ts')
    const { judge } = await import('../lib/doctor/guard-judge.ts')
    const { inputThatSucceeds } = await import('../lib/doctor/guard-output.ts')
    const { prepare, recordDecision } = await import('../lib/doctor/guard-record.ts')
    const { worldOf } = await import('../lib/doctor/guard-world.ts')
    const context = readGuardContext(contextPath)
    const world = worldOf(context)
    const decision = await judge(call, world)
    // No copy, no edit; no line in the log, no action.
    if (decision.allow) prepare(decision.rules, context)
    recordDecision(decision, call, context, world.secrets)
    return answerOf(decision, modes.includes('hides-output') ? inputThatSucceeds(call) : undefined)
  } catch (error) {
    return failed((error as Error).message)
  }
}

/** After a call: what the tool answered, without secrets; nothing when there are none in it. */
async function hideSecrets(): Promise<void> {
  const { readGuardContext } = await import('../lib/doctor/guard-context.ts')
  const { outputAnswer } = await import('../lib/doctor/guard-output.ts')
  const { worldOf } = await import('../lib/doctor/guard-world.ts')
  const { secrets } = worldOf(readGuardContext(contextPath))
  process.stdout.write(outputAnswer(JSON.parse(await standardInput()), secrets))
}

async function standardInput(): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}
