/** The small interface behind which each coding agent that can be the doctor has one file. */
import type { Launch } from '../services/terminal.ts'
import type { DOCTOR_NAMES } from '../tier/setting-table.ts'
import type { Settings } from '../tier/settings.ts'

export type DoctorName = (typeof DOCTOR_NAMES)[number]

/** What a doctor cannot work without. */
export type Trouble = 'login' | 'quota' | 'service' | 'instruments'

/** What one line of a doctor's output stream tells. */
export type DoctorEvent =
  /** The instruments are connected: it may be listened to. */
  | { kind: 'connected' }
  /** It cannot go on. `detail`: its own words, one line. */
  | { kind: 'trouble'; trouble: Trouble; detail: string }
  /** What it said. */
  | { kind: 'said'; text: string }
  /** An instrument that it called, with its arguments on one line. */
  | { kind: 'called'; text: string }
  /** What an instrument answered. */
  | { kind: 'answered'; text: string }
  /** It has ended its work by itself. `costUsd`: what it says that the visit cost. */
  | { kind: 'finished'; costUsd?: number }

/** What a doctor is given for one visit. */
export interface Commission {
  settings: Settings
  /** The run's own folder (0700): everything written there is deleted after the visit. */
  folder: string
  /** How the MCP server with the instruments is started (stdio); its name is `doctor`. */
  server: { command: string; args: string[] }
  /** The names of its instruments. */
  instruments: readonly string[]
}

export interface Doctor {
  name: DoctorName
  /** For people: `Claude Code`. */
  title: string
  /** Its version as it is installed, or why it cannot be used, as a sentence. */
  find(settings: Settings): Promise<{ version: string } | { failure: string }>
  /** Writes what it needs into the folder of the run, and says how it is started: the briefing is its standard input. */
  prepare(commission: Commission): Launch
  /** What one line of its standard output tells; nothing for lines of no interest. Never throws. */
  read(line: string): DoctorEvent[]
  /** What a line of standard error tells, where it says there why it cannot go on. */
  readError?(line: string): DoctorEvent[]
}

/** Nothing that a doctor prints ends the session by an error of ours. */
export function eventsOf(doctor: Doctor, line: string): DoctorEvent[] {
  try {
    return doctor.read(line)
  } catch {
    return []
  }
}
