/**
 * Preloaded into a tier's script: its clock is so many seconds away from the machine's as the file CLOCK_FILE says, at every
 * moment; what no clock sets (performance.now, timers) is as it is. With CLOCK_SPEED, `gateway-healthcheck 60`, that script's
 * performance.now, and its clock with it, runs so many times as fast.
 */
import { readFileSync } from 'node:fs'

const [script, times] = (process.env.CLOCK_SPEED ?? ' 1').split(' ')
const speed = process.argv.some((word) => word.includes(script)) ? Number(times) : 1
const [RealDate, realNow] = [Date, performance.now.bind(performance)]
const beganMs = RealDate.now() - realNow()
performance.now = () => realNow() * speed
const now = () => beganMs + performance.now() + Number(readFileSync(process.env.CLOCK_FILE, 'utf8') || 0) * 1000
globalThis.Date = new Proxy(RealDate, {
  construct: (target, args) => (args.length === 0 ? new target(now()) : Reflect.construct(target, args)),
  get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
})
