import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HELLO, client, refused } from './client.mjs';

const { actions, packages } = client;

test('a package is created, filled, bound and deleted', async () => {
  await packages.update({ name: 'tools', package: { parameters: [{ key: 'name', value: 'package' }], publish: true } });
  await actions.update({ name: 'tools/hello', action: HELLO });
  const result = await actions.invoke({ name: 'tools/hello', blocking: true, result: true });
  assert.deepEqual(result, { greeting: 'Hello, package!' });
  const { actions: inside } = await packages.get('tools');
  assert.deepEqual(inside.map(({ name }) => name), ['hello']);
  assert.ok((await packages.list()).some(({ name }) => name === 'tools'));

  const binding = { namespace: 'guest', name: 'tools' };
  await packages.update({ name: 'bound', package: { binding, parameters: [{ key: 'name', value: 'binding' }] } });
  assert.deepEqual(await actions.invoke({ name: 'bound/hello', blocking: true, result: true }), { greeting: 'Hello, binding!' });
  await packages.delete('bound');

  assert.match(await refused(409, () => packages.delete('tools')), /not empty/);
  await actions.delete('tools/hello');
  await packages.delete('tools');
  await refused(404, () => packages.get('tools'));
});
