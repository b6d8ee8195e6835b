import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HELLO, client } from './client.mjs';

test('the namespaces are listed, and what is in one', async () => {
  assert.deepEqual(await client.namespaces.list(), ['guest']);
  await client.actions.update({ name: 'inside', action: HELLO });
  const { actions, packages, triggers, rules } = await client.namespaces.get();
  assert.ok(actions.some(({ name }) => name === 'inside'));
  for (const list of [packages, triggers, rules]) assert.ok(Array.isArray(list));
});
