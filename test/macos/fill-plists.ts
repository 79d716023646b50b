/** Writes the LaunchAgents as setup would fill them in for this user into a folder, for `plutil -lint`. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { filledTemplate } from '../../lib/install/plan.ts'
import { loadSettings } from '../../lib/tier/settings.ts'

const [folder = '.'] = process.argv.slice(2)
const settings = loadSettings()
const root = join(import.meta.dirname, '..', '..')
// What XML and a shell would read their own way.
const environment = { PATH: '/opt/<my> & "your"/bin:/usr/bin', HOME: settings.home }
mkdirSync(folder, { recursive: true })
for (const tier of ['watchdog', 'healthcheck']) {
  const name = `com.openclaw.${tier}.plist`
  writeFileSync(join(folder, name), filledTemplate(`launchagents/${name}`, { settings, root, environment }))
}
