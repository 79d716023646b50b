import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FULL_DISK_MB, freeDiskMb, LOW_DISK_MB } from '../../lib/gateway/examination.ts'
import { type Fault, killGateway, type Scene, type StandInScene } from './fault.ts'

export const needsMount = () =>
  process.platform === 'linux' && process.getuid?.() === 0 ? undefined : 'only root can mount a small file system'

/** Puts OpenClaw's folder on a file system of 64 MB, under the feet of the running gateway. */
async function onSmallDisk({ box, onClose }: StandInScene): Promise<void> {
  const small = join(box.root, 'small')
  execFileSync('mkdir', [small])
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m,mode=0700', 'tmpfs', small])
  execFileSync('cp', ['-a', `${box.stateDir}/.`, small])
  execFileSync('mount', ['--move', small, box.stateDir])
  onClose(() => execFileSync('umount', ['-l', box.stateDir]))
}

const hog = ({ stateDir }: Scene) => join(stateDir, 'hog')

function fillUp(scene: Scene, leaveMb: number): void {
  const free = freeDiskMb(scene.stateDir)!
  writeFileSync(hog(scene), Buffer.alloc((free - leaveMb) * 1024 * 1024))
  scene.onClose(() => rmSync(hog(scene), { force: true }))
}

const usual = {
  name: 'disk full',
  cannotBeMade: needsMount,
  keeps: ['config'],
} as const

export default [
  {
    ...usual,
    id: '14',
    signs: '/health is live, nearly no room is left',
    produce: onSmallDisk,
    verdict: 'healthy',
    exits: [0, 0],
    healedBy: 'nobody needed',
    restarts: 0,
    told: /\d+ MB/,
    keeps: ['process', 'config'],
    // OpenClaw's folder is on a small file system of its own from the beginning.
    real: {
      cannotBeMade: needsMount,
      produce: async (scene) => fillUp(scene, LOW_DISK_MB / 2),
    },
  },
  {
    ...usual,
    id: '14b',
    name: 'down, disk full',
    signs: 'no process, no room',
    produce: async (scene) => {
      await onSmallDisk(scene)
      await killGateway(scene)
      fillUp(scene, FULL_DISK_MB / 2)
    },
    verdict: 'disk-full',
    exits: [1, 1],
    healedBy: 'a human',
    restarts: 0,
    told: /\d+ MB/,
    repair: async (scene) => rmSync(hog(scene)),
    real: {
      cannotBeMade: needsMount,
      produce: async (scene) => {
        await killGateway(scene)
        fillUp(scene, FULL_DISK_MB / 2)
      },
      repair: async (scene) => rmSync(hog(scene)),
    },
  },
] satisfies Fault[]
