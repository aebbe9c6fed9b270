// The demo's page in the system's Chromium, by keyboard alone: opens a session, says something, watches the answer grow.
//
//   KEYSTILE_URL      where the demo is
//   CHROMIUM          optional: the browser, if it is not /usr/bin/chromium
//
// Prints one JSON line with what it saw; exits 1 with a message if something is not as it should be.

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import process from 'node:process'

import { chromium } from 'playwright-core'

const TEXT = 'こんにちは、世界！👩‍💻 and 🎌 — “quoted” \\ "text"\nsecond line <b>not bold</b>'
const ANSWER = `I heard: ${TEXT}`
const BROWSER = process.env.CHROMIUM || '/usr/bin/chromium'
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]
// What every vendor key begins with.
const KEY = /\bsk-[\w-]+/
// Between two of these steps the browser was given more of the answer: the page itself appends without a pause.
const STEP_MS = 10

const main = async () => {
  assert.ok(process.env.KEYSTILE_URL, 'KEYSTILE_URL is not set')
  const { origin } = new URL(process.env.KEYSTILE_URL)
  assert.ok(existsSync(BROWSER), `${BROWSER} is not there: install Debian's package chromium, or set CHROMIUM`)

  // The profile is a fresh one, in a temporary directory.
  const browser = await chromium.launch({ executablePath: BROWSER, args: FLAGS })
  try {
    const page = await browser.newPage()
    page.setDefaultTimeout(15_000)
    const seen = watch(page)
    await page.addInitScript(recordAnswers)

    await page.goto(`${origin}/`)
    const session = await openSession(page)
    const steps = await converse(page)
    await stop(page)
    await checkToken(page, session)
    const requests = await checkTraffic(seen, origin, session)
    assert.deepEqual(seen.complaints, [], `the browser complains: ${seen.complaints.join('; ')}`)
    const { sessionId, conversationId, expiresIn } = session
    console.log(JSON.stringify({ sessionId, conversationId, expiresIn, answer: ANSWER, steps, requests }))
  } finally {
    await browser.close()
  }
}

const watch = (page) => {
  const seen = { complaints: [], requests: [] }
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) seen.complaints.push(message.text())
  })
  page.on('pageerror', (error) => seen.complaints.push(String(error)))
  page.on('request', (request) => seen.requests.push(request))
  return seen
}

// Runs in the page, before its own script: keeps what the last bubble of the bot said, and when.
const recordAnswers = () => {
  window.grown = []
  window.violations = []
  document.addEventListener('securitypolicyviolation', (event) => window.violations.push(event.violatedDirective))
  const look = () => {
    const text = [...document.querySelectorAll('.said.bot')].at(-1)?.textContent
    if (text && text !== window.grown.at(-1)?.text) window.grown.push({ text, at: performance.now() })
  }
  new MutationObserver(look).observe(document, { childList: true, characterData: true, subtree: true })
}

const openSession = async (page) => {
  await reach(page, 'name')
  await page.keyboard.insertText('Ada Lovelace')
  await reach(page, 'email')
  await page.keyboard.insertText('ada@example.com')
  const answer = page.waitForResponse((response) => response.url().endsWith('/sessions'))
  await page.keyboard.press('Enter')
  const response = await answer
  assert.equal(response.status(), 201, `the session is opened: ${await response.text()}`)
  const session = await response.json()
  await page.waitForFunction(() => document.activeElement.id === 'text')
  const status = await page.textContent('#status')
  assert.ok(status.includes(session.sessionId), `the page names its session: ${status}`)
  assert.match(await page.textContent('#countdown'), /\d:\d\d:\d\d/, 'the page counts down')
  return session
}

const reach = async (page, id) => {
  for (let presses = 0; presses < 20; presses += 1) {
    if (await page.evaluate((id) => document.activeElement?.id === id, id)) return
    await page.keyboard.press('Tab')
  }
  assert.fail(`#${id} is not reached with the Tab key`)
}

const converse = async (page) => {
  await page.keyboard.insertText(TEXT)
  // An input method's Enter chooses a word: it sends nothing.
  await page.dispatchEvent('#text', 'keydown', { key: 'Enter', isComposing: true })
  assert.equal(await page.locator('.said').count(), 0, 'an Enter of the input method sends nothing')
  await page.keyboard.press('Enter')
  await page.waitForSelector('.bot.open', { state: 'attached' })
  await page.waitForSelector('.bot:not(.open)')

  assert.deepEqual(await page.locator('.said').allTextContents(), [TEXT, ANSWER], 'what was said is shown as it is')
  assert.equal(await page.locator('#log b').count(), 0, 'what was said is not markup')
  const grown = await page.evaluate(() => window.grown)
  for (const { text } of grown) assert.ok(ANSWER.startsWith(text), `${text} is a beginning of the answer`)
  const steps = grown.filter(({ at }, index) => index === 0 || at - grown[index - 1].at >= STEP_MS).length
  assert.ok(steps > 3, `the answer comes in pieces, not at once: ${JSON.stringify(grown)}`)
  return steps
}

// Escape ends an answer at once, and the conversation goes on.
const stop = async (page) => {
  await page.waitForFunction(() => document.activeElement.id === 'text')
  await page.keyboard.insertText('again '.repeat(400))
  await page.keyboard.press('Enter')
  await page.waitForFunction(() => document.querySelector('.bot.open')?.textContent.includes('again'))
  await page.keyboard.press('Escape')
  await page.waitForSelector('.note')
  assert.equal(await page.textContent('.note'), 'Stopped.')
  assert.ok(await page.isEnabled('#send'), 'after a stop the page can send again')
  const box = await page.locator('#chat').boundingBox()
  assert.ok(box.y >= 0 && box.y + box.height <= page.viewportSize().height, 'the message box stays in view')
}

// The token is in the page's memory and nowhere else.
const checkToken = async (page, { token }) => {
  assert.match(token, /^[\w-]+\.[\w-]+\.[\w-]+$/, 'the token is a JWT')
  const kept = await page.evaluate(async () => ({
    local: { ...localStorage },
    session: { ...sessionStorage },
    databases: await indexedDB.databases(),
    history: history.state,
    violations: window.violations,
  }))
  const nothing = { local: {}, session: {}, databases: [], history: null, violations: [] }
  assert.deepEqual(kept, nothing, `the page keeps nothing and breaks no policy: ${JSON.stringify(kept)}`)
  assert.deepEqual(await page.context().cookies(), [], 'there are no cookies')
  assert.ok(!page.url().includes(token), 'the token is not in the address')
  assert.ok(!(await page.content()).includes(token), 'the token is not in the document')
}

const checkTraffic = async ({ requests }, origin, { token, conversationId }) => {
  const conversation = `${origin}/api/v1/conversation/${conversationId}/`
  for (const request of requests) {
    const url = request.url()
    const headers = await request.allHeaders()
    const sent = JSON.stringify([url, headers, request.postData()])
    assert.equal(new URL(url).origin, origin, `nothing foreign is called: ${url}`)
    assert.doesNotMatch(sent, KEY, `no request carries a vendor's key: ${url}`)
    assert.ok(!url.includes(token), 'the token is in no address')
    const authorization = url.startsWith(conversation) ? `Bearer ${token}` : undefined
    assert.equal(headers.authorization, authorization, `the token goes to its conversation only: ${url}`)
    // An answer that was stopped has no body to read.
    if (request.failure()) continue
    const answer = await request.response()
    assert.ok(answer.ok(), `${answer.status()} ${url}`)
    assert.doesNotMatch(await answer.text(), KEY, `no answer carries a vendor's key: ${url}`)
  }
  assert.equal(requests.length, 4, 'the page, the session, two messages')
  return requests.length
}

main().catch((error) => {
  console.error(error.stack)
  process.exitCode = 1
})
