'use strict';

const assert = require('node:assert');
const { spawn } = require('node:child_process');
const { test } = require('node:test');

test('greets', async (t) => {
  const server = spawn(process.execPath, ['server.js'], {
    cwd: __dirname,
    env: { ...process.env, PORT: '0', NAME: 'Ada' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => server.kill());
  const [line] = await new Promise((resolve) => server.stdout.once('data', (data) => resolve(String(data).split('\n'))));
  const port = line.match(/port (\d+)/)[1];

  const answer = await (await fetch(`http://127.0.0.1:${port}/`)).json();
  assert.strictEqual(answer.message, 'Hello, Ada!');
  assert.strictEqual((await fetch(`http://127.0.0.1:${port}/nowhere`)).status, 404);
});
