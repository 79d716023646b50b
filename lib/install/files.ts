/** Steps that write files and folders, and paths as people read them. */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import type { Entry } from '../services/receipt.ts'
import { writeFileAtomic } from '../tier/state.ts'
import type { Step } from './step.ts'

/** The folders that have to be made so that `path` exists, outermost first; none when it is there. */
export function folderSteps(path: string, mode: number, home: string): Step[] {
  const missing: string[] = []
  for (let folder = path; !existsSync(folder); folder = dirname(folder)) missing.unshift(folder)
  return missing.map((folder) => ({
    lines: [`create the folder ${tilde(folder, home)}`],
    entries: [{ kind: 'folder', path: folder }],
    apply: async () => {
      mkdirSync(folder, { recursive: true, mode })
    },
    rollback: async () => removeIfEmpty(folder),
  }))
}

export interface FileContent {
  path: string
  content: string
  mode: number
}

/** True when the file has this content and these permissions. */
export function isAsWanted({ path, content, mode }: FileContent): boolean {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat?.isFile() === true && (stat.mode & 0o777) === mode && readFileSync(path, 'utf8') === content
}

/** Writes the file; what was there before comes back with the function that is returned. */
export function putFile({ path, content, mode }: FileContent): () => void {
  const before = existsSync(path) ? { bytes: readFileSync(path), mode: statSync(path).mode & 0o777 } : undefined
  writeFileAtomic(path, content, mode)
  // The mode given when a file is made is cut by the umask.
  chmodSync(path, mode)
  return () => {
    if (before === undefined) rmSync(path, { force: true })
    else {
      writeFileAtomic(path, before.bytes, before.mode)
      chmodSync(path, before.mode)
    }
  }
}

/** A step that writes one file, or undefined when it is as it should be. */
export function fileStep(file: FileContent, home: string, entry: Entry, what: string): Step | undefined {
  if (isAsWanted(file)) return undefined
  let putBack = () => {}
  return {
    lines: [`${existsSync(file.path) ? 'change' : 'write'} ${tilde(file.path, home)} (${what})`],
    entries: [entry],
    apply: async () => {
      putBack = putFile(file)
    },
    rollback: async () => putBack(),
  }
}

export function sha256(text: string | Buffer): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Moves a file, to another file system too. */
export function moveFile(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true, mode: 0o700 })
  try {
    renameSync(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error
    const { mode } = lstatSync(from)
    copyFileSync(from, to)
    chmodSync(to, mode & 0o777)
    rmSync(from)
  }
}

export function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(code ?? '')) throw error
  }
}

/** `~/…` for what lies in the home folder. */
export function tilde(path: string, home: string): string {
  return path.startsWith(`${home}/`) ? `~/${path.slice(home.length + 1)}` : path
}

/** The executable of that name on a PATH, or undefined. */
export function findOnPath(name: string, searchPath: string): string | undefined {
  return searchPath
    .split(':')
    .filter((folder) => folder.startsWith('/'))
    .map((folder) => join(folder, name))
    .find((path) => {
      const stat = statSync(path, { throwIfNoEntry: false })
      return stat?.isFile() === true && (stat.mode & 0o111) !== 0
    })
}
