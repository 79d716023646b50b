/** Whose gateway it is and who stopped it, on a real systemd: the user's and the machine's. */
import { playAll } from './play.ts'
import { buildSystemdStage } from './systemd-stage.ts'
import { whoRunsIt } from './who-runs-it.ts'

playAll('systemd', buildSystemdStage, true, whoRunsIt)
