import assert from 'node:assert/strict';
import test from 'node:test';
import isNumber from 'is-number';
import { app } from './server.js';

test('it greets, and its native part works', async (t) => {
  const server = app.listen(0);
  t.after(() => server.close());
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/`);
  const body = await answer.json();
  assert.equal(body.message, 'Hello, world!');
  assert.ok(isNumber(body.checksum));
});
