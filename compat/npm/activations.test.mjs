import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { HELLO, client, eventually, refused } from './client.mjs';

const { actions, activations } = client;
let id;

before(async () => {
  await actions.update({ name: 'recorded', action: HELLO });
  ({ activationId: id } = await actions.invoke({ name: 'recorded', params: { name: 'Ann' } }));
  await eventually(() => activations.get(id));
});

test('a record holds all of it', async () => {
  const record = await activations.get(id);
  assert.equal(record.activationId, id);
  assert.equal(record.name, 'recorded');
  assert.equal(record.namespace, 'guest');
  assert.deepEqual(record.response.result, { greeting: 'Hello, Ann!' });
  assert.equal(record.logs.length, 1);
  assert.ok(record.end >= record.start && record.duration === record.end - record.start);
});

test('logs and result are read on their own', async () => {
  const { logs } = await activations.logs(id);
  assert.match(logs[0], /^\d{4}-\d\d-\d\dT[\d:.]+Z +stdout: greeting Ann$/);
  const result = await activations.result({ name: id });
  assert.deepEqual(result.result, { greeting: 'Hello, Ann!' });
  assert.equal(result.success, true);
});

test('lists are filtered by name and time', async () => {
  const listed = await activations.list({ name: 'recorded' });
  assert.ok(listed.length > 0 && listed.every(({ name }) => name === 'recorded'));
  const { start } = await activations.get(id);
  assert.ok((await activations.list({ since: start, upto: start })).some(({ activationId }) => activationId === id));
  assert.deepEqual(await activations.list({ upto: start - 1, name: 'recorded' }), []);
  const [full] = await activations.list({ name: 'recorded', docs: true, limit: 1 });
  assert.deepEqual(full.response.result, { greeting: 'Hello, Ann!' });
  assert.ok((await activations.list({ count: true })).activations >= 1);
});

test('an id that nothing has is not found', async () => {
  await refused(404, () => activations.get('0'.repeat(32)));
  await refused(400, () => activations.get('short'));
});
