// Preloaded into a gateway by its unit: what its boot does before OpenClaw's own code. How: BOOT_FAULT.
const { existsSync } = require('node:fs')

if (process.env.BOOT_FAULT === 'dies') throw new Error('flux capacitor exceeded')
const sleeper = new Int32Array(new SharedArrayBuffer(4))
while (!existsSync('/tmp/boot-goes-on')) {
  for (const end = performance.now() + 40; process.env.BOOT_FAULT === 'works' && performance.now() < end; );
  Atomics.wait(sleeper, 0, 0, 60)
}
