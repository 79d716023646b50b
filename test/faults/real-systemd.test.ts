/** The failures of the field against the real OpenClaw under the real systemd. */
import type { SystemdScene } from './fault.ts'
import { playAll } from './play-all.ts'
import { buildSystemdStage } from './systemd-stage.ts'

playAll<SystemdScene>('systemd', buildSystemdStage)
