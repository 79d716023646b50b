/**
 * How a sandbox and the stand-ins in it talk: one folder of small files. Plain JavaScript, like all executables here:
 * on Node 20 a stand-in in TypeScript would cost half a second per call.
 */
import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The folder, from the wrapper in the sandbox's bin folder that started this stand-in. */
export const controlDir = process.env.STAND_IN_CONTROL ?? ''

/** @returns {import('./faults.ts').Faults} */
export function readFaults() {
  return readJson('faults.json') ?? {}
}

/** The content of a JSON file of the folder; undefined when it is not there. */
export function readJson(name) {
  try {
    return JSON.parse(readFileSync(join(controlDir, name), 'utf8'))
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}

/** Puts on record what was done; one write, so that lines of several processes do not mix. */
export function recordEvent(what) {
  appendFileSync(join(controlDir, 'events.jsonl'), `${JSON.stringify({ pid: process.pid, what })}\n`)
}
