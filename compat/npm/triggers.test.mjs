import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HELLO, client, eventually } from './client.mjs';

const { actions, activations, rules, triggers } = client;

test('a fired trigger runs the actions of its active rules', async () => {
  await actions.update({ name: 'reacts', action: HELLO });
  await triggers.update({ name: 'event', trigger: { parameters: [{ key: 'name', value: 'trigger' }] } });
  await rules.update({ name: 'joins', action: 'reacts', trigger: 'event' });
  assert.equal((await rules.get('joins')).status, 'active');
  assert.ok((await triggers.get('event')).rules['guest/joins']);

  const { activationId } = await triggers.invoke({ name: 'event', params: { name: 'fire' } });
  const fired = await eventually(() => activations.get(activationId), ({ logs }) => logs.length > 0);
  const { activationId: caused } = JSON.parse(fired.logs[0]);
  const record = await eventually(() => activations.get(caused));
  assert.deepEqual(record.response.result, { greeting: 'Hello, fire!' });
  assert.equal(record.cause ?? activationId, activationId);

  await rules.disable({ name: 'joins' });
  assert.equal((await rules.get('joins')).status, 'inactive');
  await rules.enable({ name: 'joins' });
  assert.equal((await rules.get('joins')).status, 'active');
  assert.ok((await rules.list()).some(({ name }) => name === 'joins'));
  assert.ok((await triggers.list()).some(({ name }) => name === 'event'));
  await rules.delete('joins');
  await triggers.delete('event');
});
