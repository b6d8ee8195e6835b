// Does what `do` says; ../README.md lists the deeds.
const fs = require('fs');

let count = 0;
let here = 0;

const streams = { stdout: process.stdout, stderr: process.stderr };

const deeds = {
  count: () => ({ count: ++count }),
  log({ lines }) {
    for (const [stream, text] of lines) streams[stream].write(`${text}\n`);
    return {};
  },
  tail({ text }) {
    process.stdout.write(text);
    return {};
  },
  flood({ lines, width }) {
    for (let i = 0; i < lines; i++) console.log('x'.repeat(width));
    return { lines };
  },
  env: ({ names }) => Object.fromEntries(names.map(name => [name, process.env[name] ?? null])),
  make: ({ bytes }) => ({ text: 'x'.repeat(bytes) }),
  throw() {
    throw new Error('boom');
  },
  exit() {
    console.log('before the exit');
    process.exit(3);
  },
  hang() {
    console.log('before the wait');
    return new Promise(() => setInterval(() => {}, 1000));
  },
  hog() {
    const kept = [];
    for (;;) kept.push(Buffer.alloc(1 << 20, 1));
  },
  number: () => 5,
  text: () => 'five',
  nothing() {},
  list: () => [1, 'two', { three: 3 }],
  error: ({ error }) => ({ error }),
  read: ({ path }) => ({ text: fs.readFileSync(path, 'utf8') }),
  write({ path, text }) {
    try {
      fs.writeFileSync(path, text);
    } catch {
      return { wrote: false };
    }
    return { wrote: true };
  },
  stdin: () => ({ stdin: fs.readFileSync(0, 'utf8') }),
  async meet({ name, runs }) {
    console.log(`${name} comes`);
    here++;
    while (here < runs) await new Promise(done => setTimeout(done, 5));
    console.error(`${name} goes`);
    return { met: runs, name };
  },
};

function main(args) {
  return deeds[args.do](args);
}
