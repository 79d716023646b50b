/** Preloaded into a tier's script: its clock is CLOCK_SHIFT_SEC seconds away from the machine's. */
const shiftMs = Number(process.env.CLOCK_SHIFT_SEC) * 1000
const RealDate = Date
const now = () => RealDate.now() + shiftMs
globalThis.Date = new Proxy(RealDate, {
  construct: (target, args) => (args.length === 0 ? new target(now()) : Reflect.construct(target, args)),
  get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
})
