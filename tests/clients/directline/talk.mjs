// Microsoft's own Direct Line client, as its README shows it for Node. BASE is where the vendor's host was, KEY where its
// secret was; nothing else is changed.
//
// It talks over a WebSocket that breaks between two messages, and by polling. Prints one JSON object: what it saw in
// each of the two ways.

import process from 'node:process'

import directline from 'botframework-directlinejs'
import ws from 'ws'
import xhr2 from 'xhr2'

const { BASE, KEY } = process.env
const domain = `${BASE}/v3/directline`
const { DirectLine, ConnectionStatus } = directline
const sockets = []
globalThis.XMLHttpRequest = xhr2
globalThis.WebSocket = class extends ws {
  constructor(url) {
    super(url)
    sockets.push(this)
  }
}

/** The call of the site's server, and the page with what it answered. */
const talk = async (webSocket, texts, between) => {
  const answer = await fetch(`${domain}/tokens/generate`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${KEY}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ user: { id: 'dl_visitor', name: 'Visitor' }, trustedOrigins: ['https://www.example.com'] }),
  })
  const generated = await answer.json()
  // Without chance: it connects again after three seconds.
  const client = new DirectLine({ token: generated.token, domain, webSocket, pollingInterval: 200, random: () => 0 })

  const [statuses, activities] = [[], []]
  client.connectionStatus$.subscribe((status) => statuses.push(ConnectionStatus[status]))
  const told = client.activity$.subscribe((activity) => activities.push(activity))
  for (const text of texts) {
    const heard = client.activity$.filter((activity) => activity.text === `I heard: ${text}`).take(1).toPromise()
    await client.postActivity({ from: { id: 'somebody-else' }, type: 'message', text }).toPromise()
    await heard
    between()
  }
  told.unsubscribe()
  const { conversationId, token } = client
  return { generated, statuses, activities, conversationId, token }
}

const streamed = await talk(true, ['Hello?', 'And now?'], () => sockets.at(-1).terminate())
streamed.sockets = sockets.map((socket) => socket.url)
const polled = await talk(false, ['Hello?', 'And now?'], () => {})

console.log(JSON.stringify({ streamed, polled }))
process.exit(0)
