/** Runs JavaScript in a process whose debugger listens: `node in-gateway.mjs <port> <code>`. */
const [port, expression] = process.argv.slice(2)
const [{ webSocketDebuggerUrl }] = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()
const socket = new WebSocket(webSocketDebuggerUrl)
socket.onopen = () => socket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression } }))
socket.onmessage = () => socket.close()
await new Promise((resolve) => (socket.onclose = resolve))
