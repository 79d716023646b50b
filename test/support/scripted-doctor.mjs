/**
 * A stand-in for Claude Code in a terminal: the screens of 2.1.330 (recorded from the real one, see
 * test/fixtures/screens), keys read as it reads them, and a turn whose tool calls come from a script instead of a
 * model. Like the real one it asks the PreToolUse hook before every tool call and obeys it, and calls the hooks for the
 * start of a session, a submitted prompt and the end of a turn.
 */
import { spawnSync } from 'node:child_process'
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { controlDir, readJson, recordEvent, registerProcess } from './control.mjs'

/** @type {import('./doctor-script.ts').DoctorScript} */
const script = readJson('doctor.json') ?? {}
const mode = script.mode ?? 'usual'
const width = process.stdout.columns ?? 100
const rule = '─'.repeat(width)

const TRUST_OPTIONS =
  mode === 'old-trust' ? ['1. Yes, proceed', '2. No, exit'] : ['No, exit', 'Yes, I trust this folder']

/** What stands above the input box: the conversation so far. */
const transcript = []
/** What stands in the input box: pieces as they are shown, and the text that they stand for. */
let input = { shown: '', text: '' }
let highlighted = 0
/** The beginning of a paste whose end is still to come: the terminal hands over a long one in pieces. */
let unfinished = ''
/** @type {'trust' | 'ready' | 'working'} */
let screen = 'trust'

if (process.argv.includes('--version')) console.log('2.1.330 (Claude Code)')
else if (process.argv.includes('--help')) console.log(help())
else start()

/** The options of 2.1.330 that a caller may want to know about, as its `--help` lists them. */
function help() {
  return `Usage: claude [options] [command] [prompt]

Options:
  --disable-slash-commands              Disable all skills and commands
  --no-chrome                           Turn off Claude in Chrome
  --permission-mode <mode>              Permission mode to use for the session
                                        (choices: "acceptEdits", "auto",
                                        "bypassPermissions", "manual",
                                        "dontAsk", "plan")
  --setting-sources <sources>           Comma-separated list of setting sources
                                        to load (user, project, local).
  --settings <file-or-json>             Settings file or JSON string to load
                                        more settings from
  --strict-mcp-config                   Only use MCP servers from --mcp-config,
                                        ignoring all other MCP configurations
  --tools <tools...>                    Built-in tools to make available
  --verbose                             Override the verbose setting
  -v, --version                         Output the version number`
}

function start() {
  registerProcess()
  recordEvent('doctor started')
  if (mode === 'exits') {
    console.log('Claude Code could not start.')
    process.exit(1)
  }
  process.stdin.setRawMode?.(true)
  process.stdin.setEncoding('utf8').on('data', keys)
  process.stdout.write('\x1b[?2004h') // from now on a paste comes in brackets
  if (mode === 'trusted') beReady()
  draw()
}

/** The settings are taken over once the folder is trusted; a hook that waits for the session hears of it then. */
function beReady() {
  screen = 'ready'
  callHooks('SessionStart', { source: 'startup' })
}

// --- keys

function keys(chunk) {
  if (screen === 'trust') return trustKeys(chunk)
  if (screen === 'working' || mode === 'deaf') return
  if (chunk === '\r' && unfinished === '') return void submit()
  const whole = unfinished + chunk
  unfinished = whole.includes('\x1b[200~') && !whole.includes('\x1b[201~') ? whole : ''
  if (unfinished !== '') return
  const pasted = whole.replaceAll('\x1b[200~', '').replaceAll('\x1b[201~', '').replaceAll('\r', '\n')
  if (pasted.startsWith('\x1b')) return
  // Several characters at once are a paste, brackets or not: an Enter among them is a new line and submits nothing.
  const lines = pasted.split('\n').length
  input.shown += lines > 3 || pasted.length > 800 ? `[Pasted text #1 +${lines - 1} lines]` : pasted
  input.text += pasted
  draw()
}

function trustKeys(chunk) {
  if (chunk === '\x1b[A' || chunk === '\x1bOA') highlighted = Math.max(0, highlighted - 1)
  if (chunk === '\x1b[B' || chunk === '\x1bOB') highlighted = Math.min(1, highlighted + 1)
  if (chunk === '\r') {
    recordEvent(`doctor was told: ${TRUST_OPTIONS[highlighted]}`)
    if (/No, exit/.test(TRUST_OPTIONS[highlighted])) process.exit(1)
    beReady()
  }
  draw()
}

// --- a turn

async function submit() {
  const prompt = input.text
  if (prompt.trim() === '') return
  input = { shown: '', text: '' }
  recordEvent('doctor was prompted')
  appendFileSync(join(controlDir, 'prompts.jsonl'), `${JSON.stringify(prompt)}\n`)
  transcript.push(`❯ ${prompt.split('\n')[0]}`)
  callHooks('UserPromptSubmit', { prompt })
  if (mode === 'login') return failTurn('authentication_failed', 'Not logged in · Please run /login')
  if (mode === 'quota') return failTurn('rate_limit', "You've hit your limit · resets 3am (UTC)")
  screen = 'working'
  draw()
  for (const step of script.steps ?? []) await takeStep(step)
  if (script.report) await writeReport(prompt, script.report)
  transcript.push('● I am done.', '✻ Brewed for 3s · done 8:45 AM')
  screen = 'ready'
  draw()
  callHooks('Stop', {})
}

function failTurn(error, message) {
  transcript.push(`  ⎿  ${message}`)
  draw()
  callHooks('StopFailure', { error, last_assistant_message: message })
}

async function takeStep(step) {
  if (step.waitMs) await sleep(step.waitMs)
  while (step.untilFile && !existsSync(step.untilFile)) await sleep(50)
  if (step.say) transcript.push(`● ${step.say}`)
  if (step.bash) {
    transcript.push(`● Bash(${step.bash})`)
    draw()
    if (isAllowed('Bash', { command: step.bash })) {
      const { stdout, stderr } = spawnSync('sh', ['-c', step.bash], { encoding: 'utf8', timeout: 60_000 })
      for (const line of `${stdout}${stderr}`.trim().split('\n').slice(-5)) transcript.push(`  ⎿  ${line}`)
    }
  }
  draw()
}

/** The report goes where the prompt asks for it. */
async function writeReport(prompt, text) {
  const path = /\/\S*emergency-recovery-report-[\w.-]+\.md/.exec(prompt)?.[0]
  if (path === undefined) return void transcript.push('● I was not told where to write a report.')
  transcript.push(`● Write(${path})`)
  if (isAllowed('Write', { file_path: path, content: text })) writeFileSync(path, text)
}

function isAllowed(tool, toolInput) {
  const denial = callHooks('PreToolUse', { tool_name: tool, tool_input: toolInput, tool_use_id: 'toolu_0' })
  if (denial === undefined) recordEvent(`doctor ran ${tool}: ${JSON.stringify(toolInput)}`)
  else {
    recordEvent(`doctor was refused ${tool}: ${JSON.stringify(toolInput)}`)
    transcript.push('  ⎿  Not run · permission denied', `     ${denial.split('\n')[0]}`)
  }
  return denial === undefined
}

/** Runs the hooks of the `--settings` file; returns the reason of a denial, if one denies. */
function callHooks(event, details) {
  const settingsPath = process.argv[process.argv.indexOf('--settings') + 1]
  if (!process.argv.includes('--settings')) return undefined
  const { hooks = {} } = JSON.parse(readFileSync(settingsPath, 'utf8'))
  const common = {
    session_id: 'stand-in',
    transcript_path: '/dev/null',
    cwd: process.cwd(),
    permission_mode: 'default',
  }
  const stdin = JSON.stringify({ ...common, hook_event_name: event, ...details })
  for (const { command, onFailure } of (hooks[event] ?? []).flatMap((entry) => entry.hooks)) {
    const ran = spawnSync('sh', ['-c', command], { input: stdin, encoding: 'utf8', timeout: 60_000 })
    // Exit 2 blocks; any other failure lets the call pass unless the hook says otherwise.
    if (ran.status === 2 || (ran.status !== 0 && onFailure === 'block')) return ran.stderr || 'the hook failed'
    const decision = event === 'PreToolUse' && ran.stdout.trim() && JSON.parse(ran.stdout).hookSpecificOutput
    if (decision?.permissionDecision === 'allow') return undefined
    if (decision?.permissionDecision === 'deny') return decision.permissionDecisionReason ?? 'no reason given'
  }
  // In this mode what no hook allows is refused without a question.
  return event === 'PreToolUse' && process.argv.includes('dontAsk') ? 'not allowed, and nobody is asked' : undefined
}

// --- the screen

function draw() {
  const lines = screen === 'trust' ? trustScreen() : workScreen()
  process.stdout.write(`\x1b[2J\x1b[H${lines.join('\r\n')}`)
}

function trustScreen() {
  const question =
    mode === 'old-trust'
      ? [' Do you trust the files in this folder?', '', ` ${process.cwd()}`]
      : [
          ' Accessing workspace:',
          '',
          ` ${process.cwd()}`,
          '',
          ' Quick safety check: Is this a project you created or one you trust? (Like your own code, a well-known open source',
          " project, or work from your team). If not, take a moment to review what's in this folder first.",
        ]
  const options = TRUST_OPTIONS.map((option, i) => ` ${i === highlighted ? '❯' : ' '} ${option}`)
  return [rule, ...question, '', ...options, '', ' Enter to confirm · Esc to cancel']
}

function workScreen() {
  const heading = [
    ' ▐▛███▛█   Claude Code v2.1.330',
    '▝▜██████▀  Opus 5.5 · API Usage Billing',
    ` ▝▝   ▝▝   ${process.cwd()}`,
    '',
  ]
  const working = screen === 'working' ? ["* Beboppin'… (3s · ↓ 10 tokens)"] : []
  const footer = `  ⏵⏵ don't ask on (shift+tab to cycle)${screen === 'working' ? ' · esc to interrupt' : ''} · ← for agents`
  const room = (process.stdout.rows ?? 50) - 10
  const cut = transcript.map((line) => line.slice(0, width)).slice(-room)
  return [...heading, ...cut, ...working, '', rule, `❯ ${input.shown.replaceAll('\n', '\r\n  ')}`, rule, footer]
}
