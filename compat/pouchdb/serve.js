// Starts pouchdb-server in memory, on a free port of loopback, with an
// administrator. Says the port on standard output, and ends when standard input
// does: whoever started it may be killed and leaves nothing behind.
'use strict';

const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'whisker-pouchdb-'));
process.chdir(folder);
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
process.on('SIGTERM', () => process.exit(0));
process.stdin.on('end', () => process.exit(0)).resume();

const config = { admins: { whisk: 'secret' } };
// The longest document that is taken, for tests of what is longer.
if (process.env.MAX_DOCUMENT_SIZE) {
  config.couchdb = { max_document_size: Number(process.env.MAX_DOCUMENT_SIZE) };
}
fs.writeFileSync('config.json', JSON.stringify(config));

// CouchDB keeps whole numbers of any length, JavaScript rounds them: inside, long
// ones are texts.
const { parse, stringify } = JSON;
JSON.parse = (text, reviver) => {
  if (/\d{16}/.test(text)) {
    const long = /"(?:[^"\\]|\\.)*"|(?<![\d.])-?\d{16,}(?![\d.eE])/g;
    text = String(text).replace(long, (found) => (found[0] === '"' ? found : `"\\u0001long:${found}"`));
  }
  return parse(text, reviver);
};
JSON.stringify = (...args) => stringify(...args)?.replace(/"\\u0001long:(-?\d+)"/g, '$1');

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function () {
  return listen.call(this, 0, '127.0.0.1', () => console.log(this.address().port));
};
process.argv = [process.argv[0], 'pouchdb-server', '-m', '-n', '-c', 'config.json'];
require('pouchdb-server/lib');
