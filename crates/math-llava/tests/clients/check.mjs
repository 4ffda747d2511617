// Speaks to a server with OpenAI's own client for Node and checks what it makes of the answers.
//
//     node check.mjs BASE_URL MODEL KEY
//
// What the server must be like is said in check.py.

import zlib from 'node:zlib';
import OpenAI from 'openai';

const [baseURL, model, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 120_000 });
let failures = 0;

function check(what, holds, detail) {
  if (!holds) {
    failures += 1;
    console.log('FAILED:', what, JSON.stringify(detail));
  }
}

async function refused(what, kind, call, expected = {}) {
  try {
    await call();
  } catch (error) {
    check(what, error instanceof kind, { name: error.name, message: error.message });
    for (const [field, value] of Object.entries(expected)) {
      check(`${what}: ${field}`, error[field] === value, error[field]);
    }
    return;
  }
  check(what, false, 'no error');
}

const TABLE = Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit += 1) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n >>> 0;
});
// Node has this sum in zlib only since version 22.2.
const crc32 = zlib.crc32 ?? ((bytes) => ~bytes.reduce((sum, byte) => (sum >>> 8) ^ TABLE[(sum ^ byte) & 255], ~0) >>> 0);

function png(width, height, shade) {
  const chunk = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind, 'latin1'), data]);
    const out = Buffer.alloc(body.length + 8);
    out.writeUInt32BE(data.length);
    body.copy(out, 4);
    out.writeUInt32BE(crc32(body), body.length + 4);
    return out;
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header[8] = 8;
  const row = Buffer.concat([Buffer.of(0), Buffer.alloc(width, shade)]);
  const pixels = zlib.deflateSync(Buffer.concat(Array(height).fill(row)));
  const start = Buffer.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  const whole = [start, chunk('IHDR', header), chunk('IDAT', pixels), chunk('IEND', Buffer.alloc(0))];
  return `data:image/png;base64,${Buffer.concat(whole).toString('base64')}`;
}

function ask(options = {}, { text = 'What is 2+3?', images = [], ...request } = {}) {
  const parts = images.map((url) => ({ type: 'image_url', image_url: { url } }));
  const content = parts.length > 0 ? [...parts, { type: 'text', text }] : text;
  const messages = [{ role: 'user', content }];
  return client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 16, ...options }, request);
}

const said = (reply) => reply.choices[0].message.content;

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const text = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');

async function models() {
  const ids = [];
  for await (const served of client.models.list()) ids.push(served.id);
  check('models are listed', ids.includes(model), ids);
  check('a model is found', (await client.models.retrieve(model)).id === model);
  await refused('no such model is listed', OpenAI.NotFoundError, () => client.models.retrieve('none'));
}

async function chat() {
  const reply = await ask();
  check('an assistant speaks', reply.choices[0].message.role === 'assistant', reply);
  check('an end', ['stop', 'length'].includes(reply.choices[0].finish_reason), reply);
  const { prompt_tokens, completion_tokens, total_tokens } = reply.usage;
  check('usage adds up', total_tokens === prompt_tokens + completion_tokens, reply.usage);
  check('no more than asked for', completion_tokens > 0 && completion_tokens <= 16, reply.usage);
  check('greedy replies repeat', said(await ask()) === said(reply));
}

async function streams() {
  const whole = await ask();
  const chunks = await collect(await ask({ stream: true, stream_options: { include_usage: true } }));
  check('a stream says the same', text(chunks) === said(whole), text(chunks));
  check('usage last', chunks.at(-1).usage?.total_tokens === whole.usage.total_tokens, chunks.at(-1));
  check('no choices beside it', chunks.at(-1).choices.length === 0, chunks.at(-1));
  const runner = client.chat.completions.stream({
    model, messages: [{ role: 'user', content: 'What is 2+3?' }], temperature: 0, max_tokens: 16,
  });
  check('by the runner too', (await runner.finalContent()) === said(whole));
  const given = new AbortController();
  const stream = await ask({ stream: true, max_tokens: 200 }, { signal: given.signal });
  for await (const _ of stream) break;
  given.abort();
  check('a stream given up disturbs nobody', said(await ask()) === said(whole));
}

async function draws() {
  const several = await ask({ temperature: 1.5, seed: 5, n: 3 });
  const texts = several.choices.map((choice) => choice.message.content);
  check('n replies', several.choices.map((choice) => choice.index).join() === '0,1,2', several);
  const again = await ask({ temperature: 1.5, seed: 5, n: 3 });
  check('a seed repeats them', JSON.stringify(again.choices.map((c) => c.message.content)) === JSON.stringify(texts), texts);
  check('the second is drawn with the next seed', said(await ask({ temperature: 1.5, seed: 6 })) === texts[1], texts);
}

async function stops() {
  const whole = said(await ask({ max_tokens: 64 }));
  const stop = [...whole].slice(1).find((letter) => /^[!-~]$/.test(letter));
  check('the reply has a letter to stop at', stop !== undefined, whole);
  const choice = (await ask({ max_tokens: 64, stop: [stop] })).choices[0];
  check('a stop string ends a reply', choice.message.content === whole.split(stop)[0], choice);
  check('as a stop', choice.finish_reason === 'stop', choice);
}

async function logprobs() {
  const choice = (await ask({ logprobs: true, top_logprobs: 2 })).choices[0];
  const tokens = choice.logprobs.content;
  check('a log-probability a token', tokens.length > 0 && tokens.every((token) => token.logprob <= 0), tokens);
  check('as many likely ones as asked for', tokens.every((token) => token.top_logprobs.length === 2), tokens);
  const bytes = Buffer.from(tokens.flatMap((token) => token.bytes));
  check('the tokens make the text', bytes.toString('utf8').startsWith(choice.message.content), tokens);
}

async function forms() {
  const schema = {
    type: 'object',
    properties: { choice: { enum: ['A', 'B', 'C'] }, certain: { type: 'boolean' } },
    required: ['choice', 'certain'],
    additionalProperties: false,
  };
  const response_format = { type: 'json_schema', json_schema: { name: 'verdict', strict: true, schema } };
  for (const temperature of [0, 1.5]) {
    const reply = await ask({ response_format, temperature, seed: 1, max_tokens: 200 });
    const verdict = JSON.parse(said(reply));
    check('a reply of the schema', 'ABC'.includes(verdict.choice) && typeof verdict.certain === 'boolean', verdict);
    check('and no more', Object.keys(verdict).length === 2, verdict);
  }
  const wrong = { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'nonsense' } } };
  await refused('a schema that is none', OpenAI.BadRequestError, () => ask({ response_format: wrong }));
}

async function images() {
  const bare = (await ask()).usage.prompt_tokens;
  const one = await ask({}, { images: [png(40, 30, 90)] });
  check('an image takes tokens', one.usage.prompt_tokens > bare, one.usage);
  for (const url of ['data:image/png;base64,bm9wZQ==', 'https://example.com/a.png', 'file:///etc/passwd']) {
    await refused(url, OpenAI.BadRequestError, () => ask({}, { images: [url] }));
  }
}

async function errors() {
  await refused('too hot', OpenAI.BadRequestError, () => ask({ temperature: 9 }), { status: 400, param: 'temperature' });
  await refused('longer than the context', OpenAI.BadRequestError, () => ask({}, { text: 'word '.repeat(100_000) }), { code: 'context_length_exceeded' });
  await refused('no such model', OpenAI.NotFoundError, () => ask({ model: 'none' }), { code: 'model_not_found' });
  const stranger = new OpenAI({ baseURL, apiKey: 'wrong', maxRetries: 0 });
  await refused('a wrong key', OpenAI.AuthenticationError, () => stranger.models.list());
  const outcomes = {};
  const crowd = Array.from({ length: 64 }, (_, number) =>
    ask({ max_tokens: 200, temperature: 1 }, { text: `question ${number}` }).then(() => 'answered', (error) => error.constructor.name));
  for (const outcome of await Promise.all(crowd)) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  check('some are answered and some told to wait', Object.keys(outcomes).sort().join() === 'RateLimitError,answered', outcomes);
}

async function completions() {
  const request = { model, prompt: '2+3=', max_tokens: 8, temperature: 0 };
  const reply = await client.completions.create(request);
  check('a text goes on', reply.object === 'text_completion' && typeof reply.choices[0].text === 'string', reply);
  const chunks = await collect(await client.completions.create({ ...request, stream: true }));
  const streamed = chunks.map((chunk) => chunk.choices[0]?.text ?? '').join('');
  check('streamed alike', streamed === reply.choices[0].text, streamed);
}

for (const part of [models, chat, streams, draws, stops, logprobs, forms, images, errors, completions]) {
  await part().catch((error) => check(part.name, false, `${error.stack}`));
}
console.log(`openai for Node: ${failures} failures`);
process.exitCode = failures > 0 ? 1 : 0;
