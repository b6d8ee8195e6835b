// Starts @vercel/cosmosdb-server in memory, on a free port of loopback, with
// the certificate in the files TLS_CERT and TLS_KEY. Says the port on standard
// output, and ends when standard input does: whoever started it may be killed
// and leaves nothing behind. A line `cut` there cuts all connections and all
// further ones at once, until a line `mend`. A line `documents dbs/…/colls/…` has
// it say on one line what it keeps there.
//
// It has no keys. So each request is checked here, against the key in
// COSMOS_KEY, as the documentation of Cosmos DB says that requests are signed.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const readline = require('readline');
const { createHttpsServer } = require('@vercel/cosmosdb-server');

process.stdin.on('end', () => process.exit(0));

const key = Buffer.from(process.env.COSMOS_KEY, 'base64');

const signed = (request) => {
  const parts = request.url.split('/').filter(Boolean).map(decodeURIComponent);
  const list = parts.length % 2 === 1;
  const kind = parts[parts.length - (list ? 1 : 2)] || '';
  const link = (list ? parts.slice(0, -1) : parts).join('/');
  const date = request.headers['x-ms-date'] || '';
  const text = [request.method, kind].map((one) => one.toLowerCase()).concat(link, date.toLowerCase(), '', '').join('\n');
  const signature = crypto.createHmac('sha256', key).update(text).digest('base64');
  const expected = encodeURIComponent(`type=master&ver=1.0&sig=${signature}`);
  const near = Math.abs(Date.now() - Date.parse(date)) < 15 * 60 * 1000;
  return near && decodeURIComponent(request.headers.authorization || '') === decodeURIComponent(expected);
};

const server = createHttpsServer({
  cert: fs.readFileSync(process.env.TLS_CERT),
  key: fs.readFileSync(process.env.TLS_KEY),
  keepAlive: true,
});
// A connection is the client's to close: it must not go while a request comes.
server.keepAliveTimeout = 0;
const [handle] = server.listeners('request');
server.removeAllListeners('request');
server.on('request', (request, response) => {
  if (signed(request)) {
    // Without this it fails over documents that are not there.
    if (request.method === 'GET') {
      request.headers['x-ms-documentdb-query-enablecrosspartition'] = 'true';
    }
    handle(request, response);
    return;
  }
  response.writeHead(401, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ code: 'Unauthorized', message: 'The signature is not that of this request.' }));
});

server.on('tlsClientError', () => {});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));

let cut = false;
const connections = new Set();
server.on('connection', (connection) => {
  connections.add(connection);
  connection.on('close', () => connections.delete(connection));
  if (cut) {
    connection.destroy();
  }
});
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  if (line.startsWith('documents ')) {
    const url = `/${line.slice('documents '.length)}/docs`;
    handle({ method: 'GET', url, headers: {} }, { setHeader: () => {}, end: (body) => console.log(body) });
    return;
  }
  cut = line === 'cut';
  if (cut) {
    connections.forEach((connection) => connection.destroy());
  }
  console.log(line);
});
