/** Machines for tests of the launcher: with a webhook, with a checkout to break, with Nodes in odd places. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Checkout, copyCheckout, moveSystemFolders } from './checkout.ts'
import { createMachine, type Machine, type MachineOptions } from './machine.ts'
import { startWebhookReceiver } from './webhook-receiver.ts'

type OnFinished = (close: () => Promise<void>) => void

export async function machineWithWebhook(onTestFinished: OnFinished, options: MachineOptions = {}) {
  const receiver = await startWebhookReceiver()
  const machine = await createMachine('linux', {
    ...options,
    settings: { DISCORD_WEBHOOK_URL: receiver.url, ...options.settings },
  })
  onTestFinished(machine.close)
  onTestFinished(receiver.close)
  return { machine, receiver }
}

export async function machineWithCheckout(onTestFinished: OnFinished) {
  const machine = await createMachine('linux')
  onTestFinished(machine.close)
  return { machine, checkout: copyCheckout(join(machine.root, 'checkout')) }
}

/** Puts a Node somewhere that calls itself `version`, notes that it was used, and is the real one otherwise. */
export function addNode(machine: Machine, path: string, version: string): void {
  const file = join(machine.root, path)
  mkdirSync(join(file, '..'), { recursive: true })
  writeFileSync(
    file,
    `#!/bin/sh
[ "$1" = --version ] && { echo ${version}; exit 0; }
echo ${version} >>'${machine.controlDir}/node-used'
exec '${process.execPath}' "$@"
`,
    { mode: 0o755 },
  )
}

export const nodesUsed = (machine: Machine) => readLines(join(machine.controlDir, 'node-used'))

export function readLines(path: string): string[] {
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : []
}

/** A checkout whose launcher sees none of this machine's own Nodes, and a machine without Node on its PATH. */
export async function machineWithoutNode(onTestFinished: OnFinished, settings: Record<string, string> = {}) {
  const both = await machineWithWebhook(onTestFinished, { settings })
  rmSync(join(both.machine.binDir, 'node'))
  const checkout = copyCheckout(join(both.machine.root, 'checkout'))
  moveSystemFolders(checkout, join(both.machine.root, 'system'))
  checkout.replaceScript('gateway-watchdog', 'console.log(process.env.PATH)')
  return { ...both, checkout }
}

export function editScript(checkout: Checkout, name: string, beginning: string): void {
  checkout.edit(`scripts/${name}.ts`, (text) => text.replace(/^import /m, `${beginning}\nimport `))
}
