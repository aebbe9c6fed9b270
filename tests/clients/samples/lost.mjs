// One call of OpenAI's own client whose answer is lost. BASE is where the vendor was, KEY its API key; prints the status.
import OpenAI from 'openai'

const client = new OpenAI({ baseURL: `${process.env.BASE}/v1`, apiKey: process.env.KEY })
try {
  await client.chat.completions.create({ model: 'any', messages: [{ role: 'user', content: 'Hello?' }] })
  console.log('answered')
} catch (error) {
  console.log(JSON.stringify(error.status))
}
