/** The failures of the field against the real OpenClaw as a bare process. */
import type { RealScene } from './fault.ts'
import { playAll } from './play.ts'
import { buildRealStage } from './real-stage.ts'

playAll<RealScene>('real', buildRealStage)
