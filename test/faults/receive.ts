/** The webhook receiver on a machine of its own: `node receive.ts <file>` writes there its URL and what it received. */
import { renameSync, writeFileSync } from 'node:fs'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'

const path = process.argv[2]!
const receiver = await startWebhookReceiver(() => keep())
keep()

function keep(): void {
  const requests = receiver.requests.map(({ text, problems }) => ({ text, problems }))
  writeFileSync(`${path}.new`, JSON.stringify({ url: receiver.url, requests }))
  renameSync(`${path}.new`, path)
}
