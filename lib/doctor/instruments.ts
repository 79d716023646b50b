/** All instruments in one table: what a doctor can do on this machine, and nothing else. */
import { ACT_INSTRUMENTS } from './act.ts'
import { CONFIG_INSTRUMENTS } from './act-config.ts'
import { type Arguments, call, type Instrument, type Session } from './instrument.ts'
import { LOOK_INSTRUMENTS } from './look.ts'
import { FILE_INSTRUMENTS } from './look-files.ts'

export const INSTRUMENTS: Readonly<Record<string, Instrument>> = {
  ...LOOK_INSTRUMENTS,
  ...FILE_INSTRUMENTS,
  ...CONFIG_INSTRUMENTS,
  ...ACT_INSTRUMENTS,
}

/** Calls an instrument by its name. Never throws: what is refused or fails is an answer that says what to do instead. */
export function callInstrument(session: Session, name: string, args: Arguments) {
  return call(session, INSTRUMENTS, name, args)
}
