// Talks through a gateway's WebSocket in the two ways that clients have: ws with the token as a header, as servers do,
// and the WebSocket of browsers, of which undici is Node's, with the token as a subprotocol. Prints what it saw as JSON.
import { WebSocket as PageSocket } from 'undici'
import WebSocket from 'ws'

const url = process.env.KEYSTILE_SOCKET
const token = process.env.KEYSTILE_TOKEN
const messages = ['Hello', 'こんにちは、世界！👩‍💻', 'x'.repeat(100_000)]

function converse (socket) {
  return new Promise((resolve, reject) => {
    const got = []
    socket.addEventListener('open', () => messages.forEach(message => socket.send(message)))
    socket.addEventListener('error', event => reject(new Error(event.message ?? 'the WebSocket failed')))
    socket.addEventListener('close', event => resolve({ got, code: event.code, protocol: socket.protocol }))
    socket.addEventListener('message', event => {
      got.push(event.data)
      if (got.length === messages.length) socket.close(1000, 'done')
    })
  })
}

const server = await converse(new WebSocket(url, { headers: { Authorization: `Bearer ${token}` } }))
const page = await converse(new PageSocket(url, ['keystile.bearer', token]))
const refused = await new Promise(resolve => {
  const socket = new WebSocket(url, { headers: { Authorization: 'Bearer forged' } })
  socket.on('unexpected-response', (request, response) => resolve(response.statusCode))
  socket.on('error', () => {})
})
for (const { got } of [server, page]) {
  if (JSON.stringify(got) !== JSON.stringify(messages)) throw new Error('the echo is not what was sent')
}
console.log(JSON.stringify({ server: server.code, page: page.code, protocol: page.protocol, refused }))
process.exit(0)
