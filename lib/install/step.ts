/** The plan: steps that are printed, applied in order, and taken back in reverse order when one of them fails. */
import { existsSync, renameSync, rmSync } from 'node:fs'
import { type Entry, leavingPath, type Receipt, readReceipt, receiptPath, writeReceipt } from '../services/receipt.ts'
import type { Settings } from '../tier/settings.ts'

export interface Step {
  /** The plan's lines: what it changes, the first as a title. */
  lines: string[]
  /**
   * What the receipt says of it. Written before the step is done, so that nothing is ever done unrecorded; what `apply`
   * adds is written after it.
   */
  entries: Entry[]
  /** Does it. Throws an Error whose message says in one line what went wrong. */
  apply(): Promise<void>
  /** Puts back what was there before; also when `apply` failed half-way. */
  rollback(): Promise<void>
}

export interface Applied {
  /** Undefined: all went well. */
  failure?: { step: string; why: string; notTakenBack: string[] }
}

/**
 * Applies the steps and writes the receipt. When one fails, or `signal` is aborted between two, everything this run has
 * done is taken back and the old receipt put in place again. Where that fails, what there is stays on record: an
 * uninstallation can undo it.
 * @param receipt the new receipt; its entries are those of what is there already
 */
export async function applySteps(
  settings: Settings,
  steps: Step[],
  receipt: Receipt,
  signal: AbortSignal,
  say: (step: Step) => void,
): Promise<Applied> {
  const before = readReceipt(settings)
  const hadReceipt = existsSync(receiptPath(settings))
  const entries = [...receipt.entries]
  const done: Step[] = []
  for (const step of steps) {
    try {
      if (signal.aborted) throw new Error('interrupted')
      for (const entry of step.entries) addEntry(entries, entry)
      writeReceipt(settings, { ...receipt, entries })
      done.push(step)
      await step.apply()
      for (const entry of step.entries) addEntry(entries, entry)
      say(step)
    } catch (error) {
      const notTakenBack = await takeBack(done)
      const isTakenBack = notTakenBack.length === 0
      if (before) writeReceipt(settings, isTakenBack ? before : { ...before, entries })
      else if (!hadReceipt && isTakenBack) rmSync(receiptPath(settings), { force: true })
      else if (!hadReceipt) renameSync(receiptPath(settings), leavingPath(settings))
      return { failure: { step: step.lines[0]!, why: (error as Error).message, notTakenBack } }
    }
  }
  writeReceipt(settings, { ...receipt, entries })
  rmSync(leavingPath(settings), { force: true })
  return {}
}

async function takeBack(done: Step[]): Promise<string[]> {
  const failed: string[] = []
  for (const step of done.reverse()) {
    try {
      await step.rollback()
    } catch (error) {
      failed.push(`${step.lines[0]}: ${(error as Error).message}`)
    }
  }
  return failed
}

/** Entries are told apart by all they say, so that a second installation does not double them. */
function addEntry(entries: Entry[], entry: Entry): void {
  const same = JSON.stringify(entry)
  if (!entries.some((other) => JSON.stringify(other) === same)) entries.push(entry)
}
