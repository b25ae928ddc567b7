// Does the unmodified OpenAI client for Node read a stream that is silent for long as it reads any other?
//
// Run by hand before a release. It starts a model server that is silent before its first event, in the midst and
// before the end, and a gateway in an empty folder that sends a comment every 0.1 s meanwhile; all on 127.0.0.1.
//
//     mkdir -p /tmp/clients && cd /tmp/clients && npm install openai
//     PYTHONPATH=/path/to/this/project node /path/to/this/project/scripts/clients/silence.mjs /path/to/.venv/bin/python
//
// The client is taken from the folder where it is run. Exit code 0: all is well; 1: it is not, and what was seen.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const PINGS_EACH = 3;
const START_MILLISECONDS = 30_000;
const KEY = 'a-key-for-the-silent-streams';
const WORDS = ['Long', ' live', ' café', ' 🦊'];
const USAGE = { prompt_tokens: 7, completion_tokens: WORDS.length, total_tokens: 7 + WORDS.length };

let pings = 0;
let onPing = () => {};

/** Wait until so many more comments have reached the client. */
function morePings() {
  const until = pings + PINGS_EACH;
  return new Promise((resolve) => {
    onPing = () => pings >= until && resolve();
  });
}

/** The client's way out: counts the comments, and changes nothing. */
async function countingFetch(url, options) {
  const answer = await fetch(url, options);
  const count = new TransformStream({
    transform(piece, controller) {
      pings += Buffer.from(piece).toString('latin1').split(': ping\n').length - 1;
      onPing();
      controller.enqueue(piece);
    },
  });
  return new Response(answer.body?.pipeThrough(count), answer);
}

function chunks(model) {
  const base = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model };
  const deltas = [{ role: 'assistant', content: '' }, ...WORDS.map((content) => ({ content }))];
  const choices = deltas.map((delta) => ({ index: 0, delta, finish_reason: null }));
  choices.push({ index: 0, delta: {}, finish_reason: 'stop' });
  return [...choices.map((choice) => ({ ...base, choices: [choice] })), { ...base, choices: [], usage: USAGE }];
}

async function answer(request, response) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  if (request.method === 'GET') {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ object: 'list', data: [{ id: 'm', object: 'model' }] }));
    return;
  }
  const body = JSON.parse(Buffer.concat(pieces).toString());
  const ours = body.stream && JSON.stringify(body).includes('"silence, please"');
  if (!ours) {
    response.writeHead(400, { 'content-type': 'application/json' });
    response.end('{"error":{"message":"only silent streams are served here"}}');
    return;
  }
  const events = [...chunks(body.model).map((chunk) => JSON.stringify(chunk)), '[DONE]'];
  for (const [place, data] of events.entries()) {
    if ([0, 2, events.length - 1].includes(place)) await morePings();
    if (place === 0) response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(`data: ${data}\n\n`);
  }
  response.end();
}

async function listening() {
  const server = createServer((request, response) => {
    answer(request, response).catch((error) => response.destroy(error));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function freePort() {
  const server = await listening();
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

async function untilReady(url, gateway, output) {
  const deadline = Date.now() + START_MILLISECONDS;
  for (;;) {
    const ready = await fetch(`${url}/ready`).catch(() => undefined);
    if (ready?.ok) return;
    if (gateway.exitCode !== null || Date.now() > deadline) {
      throw new Error(`the gateway did not get ready:\n${readFileSync(output, 'utf8')}`);
    }
    await pause(50);
  }
}

async function register(url, endpoint) {
  const answered = await fetch(`${url}/admin/register`, {
    method: 'POST',
    headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ endpoint_url: endpoint }),
  });
  assert.equal(answered.status, 201, await answered.text());
}

async function check(client) {
  const options = { include_usage: true };
  const messages = [{ role: 'user', content: 'silence, please' }];
  const request = { model: 'm', messages, stream: true, stream_options: options };
  const seen = [];
  for await (const chunk of await client.chat.completions.create(request)) seen.push(chunk);
  assert.deepEqual(seen, chunks('m'));
  assert.ok(pings >= 3 * PINGS_EACH, `only ${pings} comments came`);
  const whole = await client.chat.completions.stream(request).finalChatCompletion();
  assert.equal(whole.choices[0].message.content, WORDS.join(''));
  assert.equal(whole.choices[0].finish_reason, 'stop');
  assert.equal(whole.usage.completion_tokens, WORDS.length);
  assert.ok(pings >= 6 * PINGS_EACH, `only ${pings} comments came`);
}

async function main() {
  const python = process.argv[2] ?? 'python3';
  const require = createRequire(join(process.cwd(), 'here.js'));
  const { default: OpenAI } = await import(pathToFileURL(require.resolve('openai')));
  const folder = mkdtempSync(join(tmpdir(), 'silence-'));
  const output = join(folder, 'output');
  const [server, port] = [await listening(), await freePort()];
  const settings = {
    PORT: String(port),
    ADMIN_API_KEY: KEY,
    ALLOWED_SERVER_NETWORKS: '127.0.0.0/8',
    SSE_KEEPALIVE_SECONDS: '0.1',
  };
  const said = openSync(output, 'w');
  const stdio = ['ignore', said, said];
  const gateway = spawn(python, ['-m', 'app.cli', 'serve'], { cwd: folder, env: { ...process.env, ...settings }, stdio });
  const url = `http://127.0.0.1:${port}`;
  try {
    await untilReady(url, gateway, output);
    await register(url, `http://127.0.0.1:${server.address().port}`);
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: KEY, maxRetries: 0, timeout: 30_000, fetch: countingFetch });
    await check(client);
    console.log(`Node's client read two silent streams unharmed; ${pings} comments came meanwhile.`);
  } finally {
    if (gateway.exitCode === null && gateway.kill()) await once(gateway, 'exit');
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true });
  }
}

await main();
