// The vendors' documented calls with fetch and with axios, and OpenAI's own client.
//
// BASE is where the vendor's host was, KEY where its API key was. Prints one JSON object: from vendor to what it said.

import assert from 'node:assert/strict'
import process from 'node:process'

import axios from 'axios'
import OpenAI from 'openai'

const { BASE, KEY } = process.env

const call = async (method, path, headers, body) => {
  const json = body && { 'Content-Type': 'application/json' }
  const answer = await fetch(`${BASE}${path}`, { method, headers: { ...headers, ...json }, body: body && JSON.stringify(body) })
  assert.ok(answer.ok, `${answer.status} ${path}`)
  return answer
}

const said = {}

// Superseek, with fetch.
{
  const id = await (await call('GET', `/session-id?bot_id=1234&api_key=${KEY}`)).text()
  const body = { api_key: KEY, bot_id: 1234, question: 'Hello?', session_id: id }
  said.superseek = (await (await call('POST', '/chat', {}, body)).json()).answer
}

// AI Chatbot Hub, with fetch. Its answer has no place for the token: that one line is added.
{
  const path = '/api/v1/chatbot/3f0b5a1e-6a52-4a53-9d6c-0f7d9a4c2b11/session/create'
  const created = await call('POST', path, { Authorization: `Bearer ${KEY}` })
  const token = created.headers.get('Keystile-Token')
  const { uuid } = await created.json()
  const headers = { Authorization: `Bearer ${token}` }
  said.aichatbothub = await (await call('POST', `/api/v1/session/${uuid}/message/stream`, headers, { query: 'Hello?' })).text()
}

// Genesys Knowledge Center, with fetch.
{
  const created = await call('PUT', '/sessions/new', { 'X-Knowledge-Key': KEY }, { visitId: 'v-node' })
  const { sessionId } = await created.json()
  const headers = { 'X-Knowledge-Key': created.headers.get('Keystile-Token') }
  said.genesys = (await (await call('GET', `/sessions/${sessionId}`, headers)).json()).visitId
}

// HotTask, with axios.
{
  const url = `${BASE}/chat/Chatbot/GetSession`
  const { data, headers } = await axios.post(url, { serialNumber: 'SN-2024-0001' }, { headers: { Authorization: KEY } })
  assert.ok(data.Success && Number.isInteger(data.Data.SessionID), JSON.stringify(data))
  const body = { sessionID: data.Data.SessionID, content: 'Hello?' }
  const answer = await axios.post(`${BASE}/chat/Chat/ClientAsk`, body, { headers: { Authorization: headers['keystile-token'] } })
  said.hottask = answer.data.Data.Answer
}

// ChatBotKit, with axios.
{
  const headers = (token) => ({ headers: { Authorization: `Bearer ${token}` } })
  const { data } = await axios.post(`${BASE}/api/v1/bot/chatbotkit/session/create`, {}, headers(KEY))
  const url = `${BASE}/api/v1/conversation/${data.conversationId}/complete`
  said.chatbotkit = (await axios.post(url, { text: 'Hello?' }, headers(data.token))).data.text
}

// OpenAI, with its own client: the session token is its key.
{
  const opened = await call('POST', '/v1/bots/openai/sessions', { Authorization: `Bearer ${KEY}` })
  const client = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: (await opened.json()).token })
  const messages = [{ role: 'user', content: 'Hello?' }]
  said.openai = ''
  for await (const chunk of await client.chat.completions.create({ model: 'any', messages, stream: true })) {
    said.openai += chunk.choices[0]?.delta?.content ?? ''
  }
  said.responses = ''
  for await (const event of await client.responses.create({ model: 'any', input: 'And now?', stream: true })) {
    if (event.type === 'response.output_text.delta') said.responses += event.delta
  }
}

console.log(JSON.stringify(said))
