/** The failures of the field against the real OpenClaw as its own user service. */
import { faults, fieldFaults } from './library.ts'
import { playAll } from './play.ts'
import { buildSystemdStage } from './systemd-stage.ts'
import { whoRunsIt } from './who-runs-it.ts'

// Those of who runs it have a machine of their own.
const others = fieldFaults.filter((fault) => !whoRunsIt.includes(fault))
playAll('systemd', buildSystemdStage, true, [...faults, ...others])
