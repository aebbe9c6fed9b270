// The demo's page in the system's Chromium: each vendor is chosen in turn, and talked to.
//
//   KEYSTILE_URL      where the demo is
//   CHROMIUM          optional: the browser, if it is not /usr/bin/chromium
//   SHOTS             optional: a folder for a picture of each conversation
//
// Prints one JSON line, from vendor to what its bot said; exits 1 with a message if something is not as it should be.

import assert from 'node:assert/strict'
import process from 'node:process'

import { chromium } from 'playwright-core'

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

const main = async () => {
  const browser = await chromium.launch({ executablePath: BROWSER, args: FLAGS })
  try {
    const page = await browser.newPage()
    page.setDefaultTimeout(15_000)
    const complaints = []
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(String(error)))
    await page.goto(process.env.KEYSTILE_URL)
    const said = {}
    const bots = await page.locator('#bot option').evaluateAll((options) => options.map(({ value }) => value))
    for (const bot of bots) {
      await page.selectOption('#bot', bot)
      await page.click('#open button')
      await page.waitForFunction(() => document.activeElement.id === 'text')
      said[bot] = [await talk(page, 'Hello?'), await talk(page, 'And now?')]
      if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/${bot}.png` })
      await page.evaluate(() => document.activeElement.blur())
    }
    assert.deepEqual(complaints, [], `the browser complains: ${complaints.join('; ')}`)
    console.log(JSON.stringify(said))
  } finally {
    await browser.close()
  }
}

// Says something, and waits for the whole of the answer.
const talk = async (page, text) => {
  const before = await page.locator('.bot, .note').count()
  await page.fill('#text', text)
  await page.keyboard.press('Enter')
  await page.waitForFunction((before) => document.querySelectorAll('.bot:not(.open), .note').length > before, before)
  assert.equal(await page.locator('.note').count(), 0, `no complaint: ${await page.locator('.note').allTextContents()}`)
  return page.locator('.bot').last().textContent()
}

main().catch((error) => {
  console.error(error.stack)
  process.exitCode = 1
})
