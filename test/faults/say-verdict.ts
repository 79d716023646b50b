/** What `examine` says of the gateway on this machine, as Level 2 sees it. */
import { examine } from '../../lib/gateway/examine.ts'
import { readRecord } from '../../lib/gateway/record.ts'
import { loadSettings } from '../../lib/tier/settings.ts'

const settings = loadSettings()
const record = readRecord(settings, true).value
const { verdict } = await examine(settings, { httpTimeoutSec: 5, record, deep: true })
console.log(verdict)
