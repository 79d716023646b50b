/** Judges one tool call of Claude Code: which tool, on what, against the policy in `guard.ts`. */

import { isRecord } from '../tier/state.ts'
import { type Decision, decide, Refused, type RuleId } from './guard.ts'
import { judgeConfigText } from './guard-config.ts'
import type { World } from './guard-context.ts'
import {
  assertReadable,
  assertTreeReadable,
  assertWritableReport,
  isConfigFile,
  NO_FOLDER,
  realPaths,
} from './guard-paths.ts'
import { textOrNothing } from './guard-patient.ts'
import { judgeProgram } from './guard-programs.ts'
import { walkShell } from './guard-shell.ts'

/** A tool call as the hook is told of it. */
export interface ToolCall {
  tool: string
  input: Record<string, unknown>
}

export interface Judgement extends Decision {
  /** Every rule that played a part; empty when refused. */
  rules: RuleId[]
}

type ToolRule = (call: ToolCall, world: World) => RuleId[] | Promise<RuleId[]>

/** Judges a call. Never throws: what goes wrong on the way is a refusal. */
export async function judge(call: ToolCall, world: World): Promise<Judgement> {
  try {
    const rule = TOOLS.get(call.tool) ?? refusing(toolRule(call.tool), `\`${call.tool}\`:`)
    assertNoSecretIn(call, world)
    const rules = [...new Set(await rule(call, world))]
    return { ...decide(primaryOf(rules)), rules }
  } catch (error) {
    if (error instanceof Refused) return { ...decide(error.rule, error.message), rules: [] }
    return { ...decide('guard-failed', `(${(error as Error).message})`), rules: [] }
  }
}

/** Of several rules the one that matters most stands in the log. */
const WEIGHT: readonly RuleId[] = [
  'repair',
  'edit-config',
  'end-process',
  'reinstall',
  'service',
  'restart',
  'report',
  'read-config',
  'live',
]

function primaryOf(rules: readonly RuleId[]): RuleId {
  return WEIGHT.find((rule) => rules.includes(rule)) ?? rules[0] ?? 'text'
}

function refusing(rule: RuleId, detail: string): ToolRule {
  return () => {
    throw new Refused(rule, detail)
  }
}

/** Tools that are refused with a reason of their own; any other unknown tool is `not-allowed`. */
function toolRule(tool: string): RuleId {
  if (
    /^(Agent|Task|Skill|SlashCommand|Workflow|AskUserQuestion|ExitPlanMode|EnterPlanMode|EnterWorktree|ExitWorktree)$/.test(
      tool,
    )
  )
    return 'escape'
  if (/^mcp__|^Mcp|Mcp/.test(tool)) return 'escape'
  if (/^(Web|RemoteTrigger|Artifact|SendFeedback|PushNotification|SendMessage|Projects)/.test(tool)) return 'network'
  if (/^(Cron|Schedule|Monitor)/.test(tool)) return 'schedule'
  if (tool === 'NotebookEdit') return 'write'
  return 'not-allowed'
}

const BASH_INPUT = new Set(['command', 'description', 'timeout', 'run_in_background', 'dangerouslyDisableSandbox'])

const bash: ToolRule = async ({ input }, world) => {
  const { command } = input
  if (typeof command !== 'string' || command.trim() === '') throw new Refused('unclear', 'There is no command.')
  if (command.length > 20_000) throw new Refused('unclear', 'The command is too long.')
  // Older releases knew one that names the shell.
  const unknown = Object.keys(input).find((name) => !BASH_INPUT.has(name))
  if (unknown !== undefined) throw new Refused('unclear', `Bash is given ${unknown}.`)
  if (input.run_in_background) throw new Refused('background', 'run_in_background is set.')
  if (input.dangerouslyDisableSandbox) throw new Refused('guard', 'dangerouslyDisableSandbox is set.')
  const rules: RuleId[] = []
  await walkShell(command, world, async (one, depth) => {
    const found = await judgeProgram(one, world, depth)
    rules.push(...found)
    return found
  })
  if (rules.filter((rule) => rule === 'repair').length > 1) throw new Refused('not-allowed', 'Run the repair once.')
  if (/>/.test(command) && rules.length > 0 && writesReport(command, world)) rules.push('report')
  return rules.length > 0 ? rules : ['text']
}

/** For the log only: redirections were judged one by one already. */
function writesReport(command: string, world: World): boolean {
  return [world.reportPath, world.reasoningPath].some((path) => command.includes(path))
}

const read: ToolRule = ({ input }, world) => {
  const path = pathOf(input, 'file_path')
  const targets = realPaths(path, NO_FOLDER, world.home)
  // Edit demands that the file was read with Read before, so this one reader sees the config as it is.
  if (targets.every((target) => isConfigFile(target, world))) return ['read-config']
  assertReadable(path, NO_FOLDER, world)
  return ['read']
}

const search: ToolRule = ({ input }, world) => {
  const path = pathOf(input, 'path')
  assertTreeReadable(path, NO_FOLDER, world)
  return ['read']
}

const glob: ToolRule = ({ input }, world) => {
  // Names only: nothing is read. A pattern may be absolute itself.
  if (input.path !== undefined) realPaths(pathOf(input, 'path'), NO_FOLDER, world.home)
  return ['list']
}

const edit: ToolRule = ({ tool, input }, world) => {
  const path = pathOf(input, 'file_path')
  const isMany = tool === 'MultiEdit'
  if (Array.isArray(input.edits) !== isMany) throw new Refused('unclear', `${tool} is not given its edits like that.`)
  const edits = isMany ? (input.edits as unknown[]) : [input]
  if (!isConfig(path, world)) {
    assertWritableReport(path, NO_FOLDER, world)
    return ['report']
  }
  const before = textOrNothing(world.configPath)
  if (before === undefined) throw new Refused('unclear', 'There is no config to edit; use Write.')
  let texts = [before.replaceAll('\r\n', '\n')]
  for (const one of edits) {
    texts = texts.flatMap((text) => outcomesOf(text, one))
    if (texts.length > MOST_OUTCOMES) throw new Refused('unclear', 'Take these pieces out one by one.')
  }
  const knownGood = textOrNothing(world.knownGoodPath)
  for (const text of texts) judgeConfigText(text, { before, knownGood, gatewayPort: world.gatewayPort })
  return ['edit-config']
}

const MOST_OUTCOMES = 16

/**
 * What Edit may make of the text: it replaces exactly this piece, once or everywhere. Where a piece is taken out, Claude
 * Code (1.0.128 and 2.0.77) takes the end of its line with it, and behind a comment the next line would join that.
 */
function outcomesOf(text: string, one: unknown): string[] {
  if (!isRecord(one)) throw new Refused('unclear', 'The edit is incomplete.')
  const { old_string: from, new_string: to, replace_all: isAll } = one
  if (typeof from !== 'string' || typeof to !== 'string' || from === '')
    throw new Refused('unclear', 'The edit is incomplete.')
  // JSON5 ends a line at these too, and Claude Code (2.0.77) takes them off the end of new text: a comment would go on.
  if (/[\u2028\u2029]/.test(to)) throw new Refused('unclear', 'The edit holds a line separator that nobody sees.')
  const pieces = text.split(from)
  if (pieces.length === 1)
    throw new Refused('unclear', 'old_string does not stand in the config exactly like that; read it again.')
  if (pieces.length > 2 && isAll !== true)
    throw new Refused('unclear', 'old_string stands in the config more than once.')
  const line = `${from}\n`
  const joins = to === '' && !from.endsWith('\n') && text.includes(line)
  return joins ? [pieces.join(to), text.replaceAll(line, '')] : [pieces.join(to)]
}

const write: ToolRule = ({ input }, world) => {
  const path = pathOf(input, 'file_path')
  if (typeof input.content !== 'string') throw new Refused('unclear', 'There is no content.')
  if (!isConfig(path, world)) {
    assertWritableReport(path, NO_FOLDER, world)
    return ['report']
  }
  judgeConfigText(input.content, {
    before: textOrNothing(world.configPath),
    knownGood: textOrNothing(world.knownGoodPath),
    gatewayPort: world.gatewayPort,
  })
  return ['edit-config']
}

const notes: ToolRule = () => ['notes']

const TOOLS: ReadonlyMap<string, ToolRule> = new Map(
  Object.entries<ToolRule>({
    Bash: bash,
    Read: read,
    Grep: search,
    Glob: glob,
    LS: glob,
    Edit: edit,
    MultiEdit: edit,
    Write: write,
    // Claude Code's own bookkeeping: it reaches nothing outside the session.
    TodoWrite: notes,
    TodoRead: notes,
    TaskCreate: notes,
    TaskGet: notes,
    TaskList: notes,
    TaskUpdate: notes,
    ToolSearch: notes,
    BashOutput: notes,
    KillShell: notes,
    KillBash: notes,
    TaskOutput: notes,
    TaskStop: notes,
  }),
)

function pathOf(input: Record<string, unknown>, name: string): string {
  const path = input[name]
  if (typeof path !== 'string' || path === '') throw new Refused('unclear', `${name} is missing.`)
  // Claude Code takes the blanks off (2.0.77), and so opens another file.
  if (path !== path.trim()) throw new Refused('unclear', `${name} begins or ends with a blank.`)
  return path
}

function isConfig(path: string, world: World): boolean {
  return realPaths(path, NO_FOLDER, world.home).every((target) => isConfigFile(target, world))
}

/** A known secret in a call would end up on the screen, in the report or on a command line. Only the config holds its own. */
function assertNoSecretIn(call: ToolCall, world: World): void {
  if (['Edit', 'MultiEdit', 'Write'].includes(call.tool)) {
    const path = call.input.file_path
    if (typeof path === 'string' && isConfig(path, world)) return
  }
  const text = JSON.stringify(call.input)
  const shown = world.secrets.some(
    (secret) => secret.length >= 6 && (text.includes(secret) || text.includes(JSON.stringify(secret).slice(1, -1))),
  )
  if (shown) throw new Refused('secrets', 'The call itself holds a secret; write [REDACTED] in its place.')
}
