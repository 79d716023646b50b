/** A checkout of its own for a test that breaks it, or that needs it in an unusual place. */
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectDir } from './sandbox.ts'

const PARTS = ['scripts', 'lib', 'launchagents', 'systemd', 'cron', 'install.ts', 'package.json', 'tsconfig.json']

export type Checkout = ReturnType<typeof copyCheckout>

/** Copies what is installed into `root`; node_modules is a link to the project's, unless there are to be none. */
export function copyCheckout(root: string, { withoutPackages = false } = {}) {
  mkdirSync(root, { recursive: true })
  for (const part of PARTS) cpSync(join(projectDir, part), join(root, part), { recursive: true })
  if (!withoutPackages) symlinkSync(join(projectDir, 'node_modules'), join(root, 'node_modules'))
  return {
    root,
    /** Changes a file; the text is that of the file, and must change. */
    edit(path: string, change: (text: string) => string) {
      const before = readFileSync(join(root, path), 'utf8')
      const after = change(before)
      if (after === before) throw new Error(`${path} did not change`)
      writeFileSync(join(root, path), after)
    },
    /** Puts a program of the test's own in the place of a tier's script. */
    replaceScript: (name: string, text: string) => writeFileSync(join(root, 'scripts', `${name}.ts`), `${text}\n`),
  }
}

/** Moves the system folders that the launcher looks into to `folder`: this machine's own Node must not be found. */
export function moveSystemFolders(checkout: Checkout, folder: string): void {
  checkout.edit('scripts/run-tier.sh', (text) =>
    text.replace(/(?<![\w"}])\/(?=(?:opt|usr|snap|sbin|home\/linuxbrew)[/:\s])/g, `${folder}/`),
  )
}
