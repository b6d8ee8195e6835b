import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HELLO, client, refused } from './client.mjs';

const { actions } = client;

test('an action is created, read, listed, updated and deleted', async () => {
  const made = await actions.create({ name: 'crud', action: HELLO, kind: 'nodejs:20', params: { name: 'Ann' }, annotations: { note: 'text' } });
  assert.equal(made.namespace, 'guest');
  assert.equal(made.version, '0.0.1');
  const read = await actions.get('crud');
  assert.equal(read.exec.code, HELLO);
  assert.deepEqual(read.parameters, [{ key: 'name', value: 'Ann' }]);
  assert.ok(read.annotations.some(({ key, value }) => key === 'note' && value === 'text'));
  assert.equal((await actions.get({ name: 'crud', code: false })).exec.code, undefined);
  assert.match(await refused(409, () => actions.create({ name: 'crud', action: HELLO })), /already exists/);
  const updated = await actions.update({ name: 'crud', action: HELLO, params: { name: 'Ben' } });
  assert.equal(updated.version, '0.0.2');
  assert.equal((await actions.invoke({ name: 'crud', blocking: true, result: true })).greeting, 'Hello, Ben!');
  assert.ok((await actions.list()).some(({ name }) => name === 'crud'));
  await actions.delete('crud');
  assert.match(await refused(404, () => actions.get('crud')), /does not exist/);
});

test('lists have a limit, an offset and a count', async () => {
  for (const n of [0, 1, 2]) await actions.update({ name: `list-${n}`, action: HELLO });
  const all = await actions.list({ limit: 200 });
  assert.deepEqual((await actions.list({ limit: 1 })).map(({ name }) => name), [all[0].name]);
  assert.deepEqual((await actions.list({ limit: 1, skip: 1 })).map(({ name }) => name), [all[1].name]);
  assert.equal((await actions.list({ count: true })).actions, all.length);
});

test('an invocation gives an id, a record or a result', async () => {
  await actions.update({ name: 'invoked', action: HELLO });
  const accepted = await actions.invoke({ name: 'invoked', params: { name: 'Ann' } });
  assert.match(accepted.activationId, /^[0-9a-f]{32}$/);
  const record = await actions.invoke({ name: 'invoked', params: { name: 'Ann' }, blocking: true });
  assert.deepEqual(record.response.result, { greeting: 'Hello, Ann!' });
  assert.equal(record.response.status, 'success');
  assert.deepEqual(await actions.invoke({ name: 'invoked', params: { name: 'Ben' }, blocking: true, result: true }), { greeting: 'Hello, Ben!' });
});

test('several are created, invoked and deleted in one call', async () => {
  await actions.update({ name: 'many-1', action: HELLO });
  await actions.update({ name: 'many-2', action: HELLO });
  const answers = await actions.invoke(['many-1', 'many-2']);
  assert.equal(answers.length, 2);
  await actions.delete(['many-1', 'many-2']);
});

test('an application error is an error with the record', async () => {
  await actions.update({ name: 'failing', action: "function main() { return { error: 'no good' } }" });
  const error = await actions.invoke({ name: 'failing', blocking: true }).catch((e) => e);
  assert.equal(error.statusCode, 502);
  assert.deepEqual(error.error.response.result, { error: 'no good' });
  assert.equal(error.error.response.status, 'application error');
});

test('a developer error says what was thrown', async () => {
  await actions.update({ name: 'throwing', action: "function main() { throw new Error('a fault') }" });
  const error = await actions.invoke({ name: 'throwing', blocking: true }).catch((e) => e);
  assert.equal(error.statusCode, 502);
  assert.match(error.error.response.result.error, /a fault/);
  assert.equal(error.error.response.status, 'action developer error');
});

test('a Buffer is an archive', async () => {
  // zip of index.js: exports.main = p => ({ zipped: p.n }), stored
  const { default: zlib } = await import('node:zlib');
  const name = Buffer.from('index.js');
  const code = Buffer.from('exports.main = p => ({ zipped: p.n });\n');
  const fields = (signature, made) => {
    const head = Buffer.alloc(made ? 46 : 30);
    head.writeUInt32LE(signature, 0);
    const at = made ? 2 : 0;
    head.writeUInt16LE(20, 4);
    if (made) head.writeUInt16LE(20, 6);
    head.writeUInt32LE(zlib.crc32 ? zlib.crc32(code) : crc32(code), 14 + at);
    head.writeUInt32LE(code.length, 18 + at);
    head.writeUInt32LE(code.length, 22 + at);
    head.writeUInt16LE(name.length, 26 + at);
    return Buffer.concat([head, name]);
  };
  const local = Buffer.concat([fields(0x04034b50, false), code]);
  const central = fields(0x02014b50, true);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(local.length, 16);
  await actions.update({ name: 'zipped', action: Buffer.concat([local, central, end]), kind: 'nodejs:20' });
  const result = await actions.invoke({ name: 'zipped', params: { n: 5 }, blocking: true, result: true });
  assert.deepEqual(result, { zipped: 5 });
});

/** For Node.js before 20.15, whose zlib has no crc32. */
function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

test('limits and versions are kept', async () => {
  const made = await actions.update({ name: 'limited', action: HELLO, limits: { timeout: 5000, memory: 128, logs: 1 }, version: '1.2.3' });
  assert.deepEqual(made.limits, { timeout: 5000, memory: 128, logs: 1, concurrency: 1 });
  assert.equal(made.version, '1.2.3');
});
