/** A checkout of its own for a test that breaks it, or that needs it in an unusual place. */
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectDir } from './sandbox.ts'

const PARTS = ['scripts', 'lib', 'launchagents', 'systemd', 'cron', 'install.ts', 'package.json', 'tsconfig.json']

/** Copies what is installed into `root`; node_modules is a link to the project's. */
export function copyCheckout(root: string) {
  mkdirSync(root, { recursive: true })
  for (const part of PARTS) cpSync(join(projectDir, part), join(root, part), { recursive: true })
  symlinkSync(join(projectDir, 'node_modules'), join(root, 'node_modules'))
  return {
    root,
    /** Puts a program of the test's own in the place of a tier's script. */
    replaceScript: (name: string, text: string) => writeFileSync(join(root, 'scripts', `${name}.ts`), `${text}\n`),
    /** Moves the system folders that the launcher looks into to `folder`: this machine's own Node must not be found. */
    moveSystemFolders(folder: string) {
      const path = join(root, 'scripts', 'run-tier.sh')
      const places = /(?<![\w"}])\/(?=(?:opt|usr|snap|sbin|home\/linuxbrew)[/:\s])/g
      writeFileSync(path, readFileSync(path, 'utf8').replace(places, `${folder}/`))
    },
  }
}
