/**
 * A class of failures from the field: how to make it on each stage, and what the system must and must not do about it.
 * What stands in a fault itself is for the stand-in gateway; `real` and `systemd` say what is different there.
 */
import { readFileSync } from 'node:fs'
import type { Verdict } from '../../lib/gateway/examine.ts'
import type { PatientMachine } from '../real/patient-machine.ts'
import type { Sandbox } from '../support/sandbox.ts'

/** `stand-in`: the stand-in gateway. `real`: OpenClaw as a bare process. `systemd`: OpenClaw as its own user service. */
export type StageName = 'stand-in' | 'real' | 'systemd'

/** A gateway that has been healthy on a known-good config, and what every stage can do with it. */
export interface Scene {
  port: number
  /** The gateway's process before the fault, as its own machine counts. A fault that replaces it says so here. */
  pid: number
  stateDir: string
  configPath: string
  writeConfig(text: string): void
  log(beginning: string): string
  /** Sends a signal to the gateway's process (`pid`, else the one before the fault); after SIGKILL it is gone. */
  signal(signal: NodeJS.Signals, pid?: number): Promise<void>
  pidNow(): Promise<number>
  isLive(limitMs?: number): Promise<boolean>
  /** Undone before the scene is closed, last first. */
  onClose(undo: () => unknown): void
}

export interface StandInScene extends Scene {
  box: Sandbox
}

export interface RealScene extends StandInScene {
  /** OpenClaw's `node_modules`, which all sandboxes share. */
  modules: string
  /** From now on the command `openclaw` is a link into these `node_modules`, as npm makes it. */
  linkOpenClaw(modules: string): void
  /** Starts the gateway by hand, and waits: until it is live or says something, then its pid; or until it has ended, then its exit code. */
  start(until: 'live' | 'exit' | RegExp): Promise<number>
  /** How often others than the play have started it. */
  starts(): number
  /** Waits until the gateway has said something since its start, or since the scene was opened. */
  until(words: RegExp): Promise<void>
  openclaw(...args: string[]): Promise<{ code: number | undefined; stderr: string }>
  /** JavaScript with the gateway's database as `db`; returns what it prints. */
  inDatabase(code: string): Promise<string>
  inGateway(code: string): Promise<void>
  /** The stand-in for Claude Code is on the PATH from now on. */
  bringDoctor(): void
}

export interface SystemdScene extends Scene {
  machine: PatientMachine
  /** `systemctl --user …`; throws when it fails. */
  systemctl(...args: string[]): Promise<string>
  unit(property: string): Promise<string>
  until(property: string, value: string): Promise<void>
  /** Ends the user's systemd with everything it runs, and starts it again, as when the machine boots. */
  restartUserManager(): Promise<void>
  /** Changes the gateway's unit by a drop-in file, which is removed when the scene is closed. */
  changeUnit(text: string): Promise<void>
  inGateway(code: string): Promise<void>
}

export type Healer = 'nobody needed' | 'itself' | 'level 1' | 'level 2' | 'level 3' | 'a human'

export interface Expected {
  settings?: Record<string, string>
  /** What `examine` must say right after `produce`. */
  verdict: Verdict
  /** It decides the exit codes of Levels 1 and 2, too. */
  healedBy: Healer
  /** Exit codes of Level 1, Level 2, and Level 1 in the second round, where they differ from that. */
  exits?: readonly [level1: number, level2: number, again: number]
  /** Starts and restarts of the gateway that the tiers may spend in two rounds, exactly so many: one by a level, else none. */
  restarts?: number
  /** What a human is told; undefined: nothing. */
  told?: RegExp
  /** What must still be so in the end: the gateway's process, the text of its config (default). */
  keeps?: readonly ('process' | 'config')[]
}

export interface Way<S extends Scene> {
  cannotBeMade?: () => string | undefined
  produce: (scene: S) => Promise<unknown>
  /** What happens while Level 1 is at work. */
  meanwhile?: (scene: S) => Promise<void>
  /** What happens before the second round of all tiers. */
  again?: (scene: S) => Promise<void>
  /** More that must, or must not, be. Throws. */
  check?: (scene: S) => unknown
  /** The human's repair, for what only a human may end; the gateway is healthy after it and Level 1's next tick. */
  repair?: (scene: S) => Promise<unknown>
}

export interface Fault extends Expected, Way<StandInScene> {
  /** The class's number; a letter behind it for a second form of the same class. */
  id: string
  name: string
  /** What a doctor must name as the root cause; only for faults that it may treat (`npm run doctor:eval`). */
  cause?: RegExp
  real?: Way<RealScene> & Partial<Expected>
  systemd?: Way<SystemdScene> & Partial<Expected>
}

/** A form of a class that only the real thing has. */
export type RealFault = Omit<Fault, keyof Way<StandInScene>>

export const killGateway = (scene: Scene): Promise<void> => scene.signal('SIGKILL')

/** The killed gateway of the stand-in ends its next boot like this; started again, it boots well. */
export const refusing = (code: number, stderr: string) => ({
  async produce(scene: StandInScene) {
    await killGateway(scene)
    await scene.box.startGateway({ exitAtBoot: { code, stderr } }, 'exit')
  },
  repair: ({ box }: StandInScene) => box.startGateway(),
})

/** A channel that this machine cannot reach. */
export function addTelegram(scene: Scene): void {
  const telegram = { enabled: true, botToken: '123456:of-no-use', apiRoot: 'http://127.0.0.1:9' }
  const config = JSON.parse(readFileSync(scene.configPath, 'utf8'))
  scene.writeConfig(JSON.stringify({ ...config, channels: { telegram } }))
}
