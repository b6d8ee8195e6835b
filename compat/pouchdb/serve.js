// Starts pouchdb-server in memory, on a free port of loopback, with an
// administrator. Says the port on standard output, and ends when standard input
// does: whoever started it may be killed and leaves nothing behind. A line `cut`
// there cuts all connections and refuses further ones, until a line `mend`.
// With TLS_CERT and TLS_KEY, which are files, it speaks TLS.
'use strict';

const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const readline = require('readline');
const tls = require('tls');

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'whisker-pouchdb-'));
process.chdir(folder);
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
process.on('SIGTERM', () => process.exit(0));
process.stdin.on('end', () => process.exit(0));

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
let entry;
let port = 0;
const connections = new Set();
const open = (said) => listen.call(entry, port, '127.0.0.1', () => console.log(said()));

// What clients connect to: pouchdb's own server, or TLS in front of it.
const serve = (server) => {
  entry = server.on('connection', (connection) => {
    connections.add(connection);
    connection.on('close', () => connections.delete(connection));
  });
  open(() => (port = entry.address().port));
};
net.Server.prototype.listen = function () {
  // A connection is the client's to close: it must not go while a write comes.
  this.keepAliveTimeout = 0;
  if (!process.env.TLS_CERT) {
    serve(this);
    return this;
  }
  const identity = { cert: fs.readFileSync(process.env.TLS_CERT), key: fs.readFileSync(process.env.TLS_KEY) };
  return listen.call(this, 0, '127.0.0.1', () => {
    const plain = this.address().port;
    serve(tls.createServer(identity, (outer) => {
      const inner = net.connect(plain, '127.0.0.1');
      outer.pipe(inner).pipe(outer);
      for (const [one, other] of [[outer, inner], [inner, outer]]) {
        one.on('error', () => other.destroy()).on('close', () => other.destroy());
      }
    }).on('tlsClientError', () => {}));
  });
};
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'cut') {
    entry.close(() => console.log('cut'));
    connections.forEach((connection) => connection.destroy());
  } else if (line === 'mend') {
    open(() => 'mended');
  }
});
process.argv = [process.argv[0], 'pouchdb-server', '-m', '-n', '-c', 'config.json'];
require('pouchdb-server/lib');
