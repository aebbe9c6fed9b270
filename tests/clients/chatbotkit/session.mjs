// ChatBotKit's own SDK against Keystile. Its documented use, with only the host and the secret changed: what a site's
// server and its widget do must go on working, and what must be refused must be refused in the vendor's words.
//
//   KEYSTILE_URL     KEYSTILE_BOT     KEYSTILE_SECRET      where, which bot, the client's secret
//   KEYSTILE_EXPIRED_TOKEN, KEYSTILE_EXPIRED_CONVERSATION  optional: a token past its end, and what it was for
//   KEYSTILE_OTHER_CONVERSATION                            optional: somebody else's conversation; made here if absent
//
// Prints one JSON line with what it saw; exits 1 with a message if something is not as it should be.

import assert from 'node:assert/strict'
import process from 'node:process'

import { ChatBotKit } from '@chatbotkit/sdk'
import { BotSessionClient } from '@chatbotkit/sdk/bot/session/index.js'
import { ConversationClient } from '@chatbotkit/sdk/conversation/index.js'

const TEXT = 'こんにちは、世界！👩‍💻 and 🎌 — “quoted” \\ "text"\nsecond line'
const HALF_AN_HOUR = 1800

const environment = (name) => {
  const value = process.env[name]
  assert.ok(value, `${name} is not set`)
  return value
}

const main = async () => {
  const { host, protocol } = new URL(environment('KEYSTILE_URL'))
  const connect = (secret) => ({ secret, host, protocol })
  const bot = environment('KEYSTILE_BOT')
  const server = new BotSessionClient(connect(environment('KEYSTILE_SECRET')))

  const session = await open(server, bot)
  const widget = (token) => new ChatBotKit(connect(token)).conversation
  const streamed = await stream(widget(session.token), session.conversationId)
  const whole = await complete(new ConversationClient(connect(session.token)), session.conversationId)

  const other = process.env.KEYSTILE_OTHER_CONVERSATION || (await open(server, bot)).conversationId
  const refused = {
    forged: await refusal(widget(forge(session.token)), session.conversationId, 'NOT_AUTHENTICATED'),
    foreign: await refusal(widget(session.token), other, 'NOT_AUTHORIZED'),
  }
  if (process.env.KEYSTILE_EXPIRED_TOKEN) {
    const conversation = process.env.KEYSTILE_EXPIRED_CONVERSATION || session.conversationId
    refused.expired = await refusal(widget(process.env.KEYSTILE_EXPIRED_TOKEN), conversation, 'NOT_AUTHENTICATED')
  }

  const { token, ...shown } = session
  console.log(JSON.stringify({ session: { ...shown, tokenLength: token.length }, streamed, whole, refused }))
}

const open = async (server, bot) => {
  const before = Date.now()
  const session = await server.create(bot, {
    durationInSeconds: HALF_AN_HOUR,
    contact: { name: 'Ada Lovelace', email: 'ada@example.com', phone: '+81312345678' },
    messages: [{ type: 'user', text: 'Good morning' }],
  })

  assert.equal(session.id, bot, 'id is the bot that was asked for')
  assert.match(session.conversationId, /^[\w.~-]{1,128}$/, 'conversationId is one path segment')
  assert.equal(typeof session.token, 'string', 'token is a string')
  assert.ok(session.token.length >= 40, 'token is too long to be guessed')
  assert.ok(Number.isSafeInteger(session.expiresAt), 'expiresAt is an integer')
  const left = (session.expiresAt - before) / 1000
  assert.ok(left > HALF_AN_HOUR - 10 && left < HALF_AN_HOUR + 10, `expiresAt is ${left} s from now`)
  assert.deepEqual(
    session.messages.map(({ type, text }) => ({ type, text })),
    [{ type: 'user', text: 'Good morning' }],
    'messages come back'
  )
  return session
}

const stream = async (conversation, id) => {
  const kinds = []
  let tokens = ''
  let result
  for await (const { type, data } of conversation.complete(id, { text: TEXT }).stream()) {
    assert.notEqual(type, 'error', `the stream says ${JSON.stringify(data)}`)
    if (kinds.at(-1) !== type) {
      kinds.push(type)
    }
    if (type === 'token') {
      tokens += data.token
    }
    if (type === 'result') {
      result = data
    }
  }

  assert.ok(result, 'the stream ends with its result')
  assert.equal(tokens, result.text, 'the tokens join to the text')
  assert.ok(result.text.includes(TEXT), 'no character was lost on the way')
  assert.equal(result.end.reason, 'stop')
  return { kinds, text: result.text }
}

const complete = async (conversation, id) => {
  const result = await conversation.complete(id, { text: TEXT })
  assert.ok(result.text.includes(TEXT), 'the whole answer holds the text')
  assert.equal(typeof result.usage.token, 'number')
  return { id: result.id, usage: result.usage }
}

// One character of the signature, not its last: that may hold unused bits, and the token would be the same.
const forge = (token) => {
  const at = token.length - 10
  const forged = token[at] === 'A' ? 'B' : 'A'
  return token.slice(0, at) + forged + token.slice(at + 1)
}

const refusal = async (conversation, id, code) => {
  const begun = performance.now()
  let error
  try {
    await conversation.complete(id, { text: TEXT })
  } catch (thrown) {
    error = thrown
  }
  assert.ok(error, `${code} was expected, and the call went through`)
  assert.equal(error.code, code, `refused as ${error.code} (${error.message})`)
  assert.ok(error.message, 'a refusal says why')
  // The SDK waits 250, 500 and 1000 ms between retries: a refusal must be of a kind that it does not repeat.
  assert.ok(performance.now() - begun < 1500, 'the SDK retried a refusal')
  return { code: error.code, message: error.message }
}

main().catch((error) => {
  console.error(`session.mjs: ${error.message}`)
  process.exitCode = 1
})
