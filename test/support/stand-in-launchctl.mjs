/** `launchctl` of the stand-in launchd: passes its arguments on and gives the answer. Usage: <socket> <arguments…> */
import { connect } from 'node:net'

const [socket, ...args] = process.argv.slice(2)
const connection = connect(socket)
let text = ''
connection.setEncoding('utf8')
connection.on('connect', () => connection.end(JSON.stringify(args)))
connection.on('data', (chunk) => (text += chunk))
connection.on('error', () => {
  process.stderr.write('Could not connect to launchd\n')
  process.exitCode = 1
})
connection.on('close', () => {
  if (text === '') return
  const { code, stdout = '', stderr = '' } = JSON.parse(text)
  process.stdout.write(stdout)
  process.stderr.write(stderr)
  process.exitCode = code
})
