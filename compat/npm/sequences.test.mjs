import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HELLO, client } from './client.mjs';

const { actions } = client;

test('a sequence hands results on', async () => {
  await actions.update({ name: 'first', action: HELLO });
  await actions.update({ name: 'second', action: 'function main({ greeting }) { return { name: greeting.length } }' });
  await actions.update({ name: 'chain', sequence: ['/_/first', '/_/second'] });
  const result = await actions.invoke({ name: 'chain', params: { name: 'Ann' }, blocking: true, result: true });
  assert.deepEqual(result, { name: 11 });
});
