'use strict';

/**
 * Loads one Node.js action and runs it as often as it is told to.
 *
 * The server speaks to it in lines, as `runtimes/README.md` says: orders come
 * on standard input, frames go out on file descriptor 3. One order is one
 * line, one answer is one synchronous write, and whatever user code prints is
 * framed and written at that moment, so that nothing is lost when the process
 * dies in the next.
 *
 * A warm run passes through `onBytes`, `onLine`, `run` and `answer`, and those
 * are written to be cheap. All else is loaded when it is first needed, because
 * a fresh container waits for every module that is required up here.
 *
 * It refuses to guess: an order that it cannot read ends the process. It sets
 * no limits of its own on time, memory or sizes, since the sandbox around it
 * does, and it is no wall: user code runs beside it and could reach it.
 */

const fs = require('fs');
const net = require('net');

// Kept before user code can replace them.
const { writeSync } = fs;
const { parse, stringify } = JSON;
const { now } = Date;

/** Where frames go. */
const FRAMES_FD = 3;
/** A write of at most this many bytes to a pipe is never split (PIPE_BUF). */
const ATOMIC_BYTES = 4096;
/** Longest log line; OpenWhisk's log driver splits longer ones as well. */
const LINE_BYTES = 16384;
/** UTF-8 needs at most this many bytes for one UTF-16 unit. */
const UTF8_MAX = 3;
const NEWLINE = 10;
/** Exit status after an order that cannot be obeyed: EX_SOFTWARE. */
const BROKEN = 70;

/** One run, or the initialisation: owns the log lines written under it. */
class Owner {
  constructor(id) {
    this.id = id;
    this.done = false;
    /** Text after the last newline, by stream. */
    this.tails = { O: '', E: '' };
  }

  /** Frames for `text` written to `stream`; an unfinished line waits. */
  frames(stream, text) {
    let end = text.indexOf('\n');
    if (end < 0 && !this.done) {
      this.tails[stream] += text;
      return this.tails[stream].length > LINE_BYTES ? this.spill(stream) : '';
    }
    const head = `${stream} ${this.id} ${micros()} `;
    let out = '';
    let start = 0;
    let tail = this.tails[stream];
    for (; end >= 0; start = end + 1, end = text.indexOf('\n', start)) {
      out += framed(head, tail + text.slice(start, end));
      tail = '';
    }
    tail += text.slice(start);
    if (this.done && tail !== '') {
      out += framed(head, tail);
      tail = '';
    }
    this.tails[stream] = tail;
    return out;
  }

  /** Frames for the full pieces of an unfinished line that grew too long. */
  spill(stream) {
    const head = `${stream} ${this.id} ${micros()} `;
    const parts = pieces(this.tails[stream]);
    this.tails[stream] = parts.pop();
    return parts.map(part => `${head}${part}\n`).join('');
  }

  /** Frames for lines that the activation leaves unfinished at its end. */
  rest() {
    const { O, E } = this.tails;
    if (O === '' && E === '') return '';
    this.tails = { O: '', E: '' };
    const time = micros();
    return (O && framed(`O ${this.id} ${time} `, O)) + (E && framed(`E ${this.id} ${time} `, E));
  }
}

function framed(head, line) {
  if (line.length * UTF8_MAX <= LINE_BYTES) return `${head}${line}\n`;
  return pieces(line).map(piece => `${head}${piece}\n`).join('');
}

/** Cuts a line into pieces of `LINE_BYTES`, never inside a character. */
function pieces(line) {
  const bytes = Buffer.from(line);
  const parts = [];
  let start = 0;
  do {
    let end = Math.min(start + LINE_BYTES, bytes.length);
    while (end < bytes.length && (bytes[end] & 0xc0) === 0x80) end--;
    parts.push(bytes.toString('utf8', start, end));
    start = end;
  } while (start < bytes.length);
  return parts;
}

/**
 * Microseconds since the Unix epoch. The wall clock counts milliseconds only;
 * the steady clock gives the digits below, and is set by the wall clock
 * whenever the two disagree by more than that.
 */
let steadyOffset = 0;
function micros() {
  const wall = now() * 1000;
  const [seconds, nanos] = process.hrtime();
  const steady = seconds * 1e6 + Math.floor(nanos / 1000);
  const ahead = steady + steadyOffset - wall;
  if (ahead < 0) steadyOffset -= ahead;
  else if (ahead > 999) steadyOffset -= ahead - 999;
  return steady + steadyOffset;
}

/** Writes frames, all of them, before it returns. */
function send(text) {
  if (text.length * UTF8_MAX <= ATOMIC_BYTES) {
    while (attempt(text) === 0);
    return;
  }
  let rest = Buffer.from(text);
  while (rest.length > 0) rest = rest.subarray(attempt(rest));
}

/** One write: how many bytes went out, 0 when the pipe was full. */
function attempt(data) {
  try {
    return writeSync(FRAMES_FD, data);
  } catch (error) {
    if (error.code !== 'EAGAIN') stop(BROKEN, `cannot write frames: ${error.code}`);
    // A pipe in non-blocking mode, full. There is no poll() here: wait a little.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    return 0;
  }
}

/** Says why on the real standard error, and ends. */
function stop(status, why) {
  try {
    writeSync(2, `launcher: ${why}\n`);
  } catch {
    // Nobody listens there any more; the status says enough.
  }
  process.reallyExit(status);
}

/** The owner of what is printed now. In concurrent mode, the fallback. */
let owner = new Owner('0'.repeat(32));
/** Follows the asynchronous calls of overlapping runs; undefined without. */
let story;
/** Initialisation has been asked for. */
let begun = false;
/** The action's function. */
let handler;

function currentOwner() {
  return (story !== undefined && story.getStore()) || owner;
}

/** How a stand-in is written to, as long as user code has not changed it. */
let streamWrite;

/**
 * A stand-in for `process.stdout` or `process.stderr`, made when first used.
 * `fd` stays the real one, so that children which are given it write there.
 */
function standIn(name, fd, stream) {
  let made;
  const make = () => {
    const { Writable } = require('stream');
    const { StringDecoder } = require('string_decoder');
    streamWrite = Writable.prototype.write;
    const decoder = new StringDecoder('utf8');
    made = new Writable({
      decodeStrings: false,
      emitClose: false,
      autoDestroy: false,
      write(chunk, encoding, done) {
        let text = chunk;
        if (typeof chunk !== 'string') text = decoder.write(chunk);
        else if (!/^utf-?8$/i.test(encoding)) text = decoder.write(Buffer.from(chunk, encoding));
        const frames = currentOwner().frames(stream, text);
        if (frames !== '') send(frames);
        done();
      },
    });
    // As with the real ones: nobody can close them for the next run.
    made.destroy = () => made;
    made.end = (...last) => {
      const done = last.find(item => typeof item === 'function');
      const [chunk, encoding] = last.filter(item => item !== done);
      if (chunk !== undefined && chunk !== null) made.write(chunk, encoding);
      if (done !== undefined) process.nextTick(done);
      return made;
    };
    made.fd = fd;
    made._isStdio = true;
    made._type = 'pipe';
    return made;
  };
  Object.defineProperty(process, name, {
    configurable: true,
    enumerable: true,
    get: () => made || make(),
  });
}

/**
 * Prints plain texts and numbers without the console's general way, which
 * costs more than a whole warm run. Whatever might come out otherwise goes
 * that way: objects, formats, groups, a stream that user code has replaced.
 */
function shorten(method, name, stream) {
  const usual = console[method];
  const short = function (...items) {
    const out = process[name];
    if (indented > 0 || out.write !== streamWrite || (items.length > 1 && String(items[0]).includes('%'))) {
      return usual.apply(console, items);
    }
    let line = '';
    for (let i = 0; i < items.length; i++) {
      const item = items[i];
      // -0 is the one number that the console shows otherwise.
      if (typeof item !== 'string' && (typeof item !== 'number' || Object.is(item, -0))) {
        return usual.apply(console, items);
      }
      line += i === 0 ? item : ` ${item}`;
    }
    const frames = currentOwner().frames(stream, `${line}\n`);
    if (frames !== '') send(frames);
  };
  Object.defineProperty(short, 'name', { value: method });
  console[method] = short;
}

/** How many console groups are open: their lines are indented. */
let indented = 0;

function shortenConsole() {
  for (const [method, step] of [['group', 1], ['groupCollapsed', 1], ['groupEnd', -1]]) {
    const usual = console[method];
    console[method] = function (...items) {
      usual.apply(console, items);
      indented = Math.max(0, indented + step);
    };
  }
  for (const method of ['log', 'info', 'debug']) shorten(method, 'stdout', 'O');
  for (const method of ['error', 'warn']) shorten(method, 'stderr', 'E');
}

// ---- initialisation --------------------------------------------------------

function initialise(init) {
  if (begun) {
    send(`I {"error":"Cannot initialize the action more than once."}\n`);
    return;
  }
  begun = true;
  owner = new Owner(init.activation);
  if (init.concurrent) story = new (require('async_hooks').AsyncLocalStorage)();
  load(init).then(
    loaded => {
      handler = loaded;
      send(`${owner.rest()}I {"ok":true}\n`);
    },
    error => {
      let why = error.message;
      if (!(error instanceof Refusal)) {
        console.error(error);
        why = `Initialization has failed due to: ${describe(error)}`;
      }
      send(`${owner.rest()}I ${safe(stringify({ error: why }))}\n`);
    },
  );
}

/** An answer that is given to the user as it is. */
class Refusal extends Error {}

async function load({ name, main, code, folder, env }) {
  if (!main || (!code && !folder)) throw new Refusal('Missing main/no code to execute.');
  shareEnvironment();
  for (const key of Object.keys(env || {})) {
    const value = env[key];
    const text = typeof value === 'object' && value !== null ? stringify(value) : value;
    process.env[key] = text === null || text === undefined ? '' : String(text);
  }
  const found = folder ? await fromFolder(folder, main) : fromText(name, main, code);
  if (typeof found !== 'function') throw `Action entrypoint '${main}' is not a function.`;
  return found;
}

/**
 * Evaluates source text inside a function, where the entry point is looked up
 * as a local name first and among the exports after that. The first line gets
 * no new line before it, so that stack traces name the user's line numbers.
 */
function fromText(name, main, code) {
  const vm = require('vm');
  const path = require('path');
  const folder = process.cwd();
  const file = path.join(folder, `${name}.js`);
  const module = { exports: {}, id: file, filename: file, loaded: false, children: [], paths: [] };
  const source = `return (function () {${code}
    try {
      if (${main} !== undefined) return ${main};
    } catch (error) {
      if (error.name !== 'ReferenceError') throw error;
    }
    return module.exports.${main} || exports.${main};
  })()`;
  const parameters = ['exports', 'require', 'module', '__filename', '__dirname'];
  const body = vm.compileFunction(source, parameters, {
    filename: file,
    columnOffset: -'return (function () {'.length,
    importModuleDynamically: vm.constants && vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  const require_ = require('module').createRequire(file);
  return body(module.exports, require_, module, file, folder);
}

/** Loads a package: CommonJS or ES modules, `main` being `[file.]function`. */
async function fromFolder(folder, main) {
  const path = require('path');
  process.chdir(folder);
  const dot = main.indexOf('.');
  const file = dot > 0 ? main.slice(0, dot) : undefined;
  const names = main.slice(dot + 1).split('.');
  if (file === undefined && !fs.existsSync('package.json') && !fs.existsSync('index.js')) {
    // The server leaves what is no archive as a lone file of this name.
    if (fs.existsSync('exec')) {
      throw 'There was an error uncompressing the action archive. The file type is unsupported';
    }
    throw 'Zipped actions must contain either package.json or index.js at the root.';
  }
  const target = file === undefined ? folder : path.join(folder, file);
  const exported = await requireOrImport(target);
  return pick(exported, names) || pick(exported, ['default', ...names]);
}

async function requireOrImport(target) {
  const require_ = require('module').createRequire(`${process.cwd()}/`);
  try {
    return require_(target);
  } catch (error) {
    if (error.code !== 'ERR_REQUIRE_ESM' && error.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw error;
    return import(require('url').pathToFileURL(require_.resolve(target)));
  }
}

function pick(exported, names) {
  return names.reduce((at, name) => (at === undefined || at === null ? undefined : at[name]), exported);
}

// ---- environment -----------------------------------------------------------

/**
 * Variables that each run has its own values of. The system is not told of these:
 * the C library keeps whatever was set until the process ends, which is 200 bytes a
 * run. Children of user code get them nevertheless, since Node.js gives them what
 * `process.env` shows; threads of its own do not.
 */
const OF_A_RUN = new Set(['__OW_ACTIVATION_ID', '__OW_DEADLINE', '__OW_TRANSACTION_ID']);

/** Has `process.env` show those and the system's, in which all others are set. */
function shareEnvironment() {
  const system = process.env;
  const all = { ...system };
  const shown = new Proxy(all, {
    set(_, name, value, receiver) {
      if (receiver !== shown) return Reflect.set(all, name, value, receiver);
      if (OF_A_RUN.has(name)) {
        all[name] = `${value}`;
      } else {
        system[name] = value;
        all[name] = system[name];
      }
      return true;
    },
    defineProperty(_, name, descriptor) {
      Object.defineProperty(system, name, descriptor);
      all[name] = system[name];
      return true;
    },
    deleteProperty(_, name) {
      return delete system[name] && delete all[name];
    },
  });
  process.env = shown;
}

// ---- runs ------------------------------------------------------------------

/** Members of an order as environment variables: name by member, last value. */
const variables = Object.create(null);
const exportedValues = Object.create(null);

function exportContext(order) {
  for (const key in order) {
    if (key === 'value') continue;
    const value = order[key];
    if (exportedValues[key] === value || typeof value !== 'string') continue;
    exportedValues[key] = value;
    const name = variables[key] || (variables[key] = `__OW_${key.toUpperCase()}`);
    process.env[name] = value;
  }
}

function run(order) {
  const id = order.activation_id;
  let { value } = order;
  if (handler === undefined) {
    send(`F ${id} {"error":"System not initialized."}\n`);
    return;
  }
  if (value === null || value === undefined) value = {};
  if (typeof value !== 'object') {
    const why = `Internal system error: the argument must be a dictionary but has type '${typeof value}'.`;
    send(`F ${id} ${stringify({ error: why })}\n`);
    return;
  }
  exportContext(order);
  const mine = new Owner(id);
  owner = mine;
  if (story === undefined) call(mine, value);
  else story.run(mine, call, mine, value);
}

function call(mine, value) {
  let result;
  let later;
  try {
    result = handler(value);
    later = result !== null && typeof result === 'object' && typeof result.then === 'function';
  } catch (error) {
    thrown(mine, error);
    return;
  }
  if (later) {
    Promise.resolve(result).then(
      settled => answer(mine, settled),
      error => rejected(mine, error),
    );
  } else {
    answer(mine, result);
  }
}

function answer(mine, result) {
  if (result === undefined) return end(mine, 'R', '{}');
  if (typeof result !== 'object') {
    console.error(`The result must be an object, but it is a ${typeof result}:`, result);
    return fail(mine, 'The action did not return a dictionary.');
  }
  let text;
  try {
    text = stringify(result);
  } catch (error) {
    return thrown(mine, error);
  }
  if (text === undefined || (text[0] !== '{' && text[0] !== '[')) {
    const what = text === undefined ? '.' : `: ${text}`;
    return fail(mine, `The action did not produce a valid JSON or JSON Array response${what}`);
  }
  end(mine, 'R', safe(text));
}

/** An exception that user code let escape: the developer's error. */
function thrown(mine, error) {
  console.error(error);
  let what;
  try {
    what = String(error);
  } catch {
    what = 'an exception that cannot be shown';
  }
  fail(mine, `An error has occurred: ${what}`);
}

/** A rejected promise: the application's own error, as plain data. */
function rejected(mine, error) {
  let text;
  try {
    text = stringify({ error: error ? plain(error, []) : {} });
  } catch (failure) {
    text = stringify({ error: String(failure && failure.message) });
  }
  // What has no JSON (a symbol, say) still is an error.
  end(mine, 'R', safe(text === '{}' ? '{"error":{}}' : text));
}

function fail(mine, message) {
  end(mine, 'F', safe(stringify({ error: message })));
}

function end(mine, frame, json) {
  const rest = mine.rest();
  mine.done = true;
  send(`${rest}${frame} ${mine.id} ${json}\n`);
}

/**
 * Half of a surrogate pair is legal in JSON's escapes and in a JavaScript
 * string, but no character: strict parsers refuse it. It becomes U+FFFD.
 */
function safe(json) {
  if (!json.includes('\\ud')) return json;
  return json.replace(/\\(?:ud[89a-f][0-9a-f]{2}|.)/g, part => (part.length > 2 ? '\ufffd' : part));
}

function describe(error) {
  try {
    return String((error && error.stack) || error);
  } catch {
    return 'an exception that cannot be shown';
  }
}

/**
 * An error as plain data, in the shape that the npm package serialize-error
 * gives: own members, then what every error has but does not list.
 */
function plain(value, above) {
  if (typeof value === 'function') return `[Function: ${value.name || 'anonymous'}]`;
  if (typeof value !== 'object' || value === null) return value;
  if (Buffer.isBuffer(value)) return '[object Buffer]';
  if (typeof value.toJSON === 'function') return value.toJSON();
  const path = [...above, value];
  const member = inner => (path.includes(inner) ? '[Circular]' : plain(inner, path));
  const made = Array.isArray(value) ? [] : {};
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner === 'function') continue;
    if (inner !== null && typeof inner === 'object' && typeof inner.pipe === 'function') made[key] = '[object Stream]';
    else made[key] = member(inner);
  }
  for (const key of ['name', 'message', 'stack', 'code', 'cause', 'errors']) {
    if (typeof value[key] !== 'undefined' && value[key] !== null) made[key] = member(value[key]);
  }
  return made;
}

// ---- orders ----------------------------------------------------------------

/** Pieces of a line whose end has not come yet. */
let parts = [];

/** Takes what was read; each byte is looked at once, however long a line is. */
function onBytes(count, buffer) {
  let start = 0;
  while (start < count) {
    const at = buffer.indexOf(NEWLINE, start);
    // Beyond `count` lies what an earlier read left.
    if (at < 0 || at >= count) break;
    if (parts.length === 0) {
      onLine(buffer.utf8Slice(start, at));
    } else {
      parts.push(Buffer.from(buffer.subarray(start, at)));
      const line = Buffer.concat(parts);
      parts = [];
      onLine(line.utf8Slice(0, line.length));
    }
    start = at + 1;
  }
  if (start < count) parts.push(Buffer.from(buffer.subarray(start, count)));
  return true;
}

function onLine(line) {
  let order;
  try {
    order = parse(line);
  } catch {
    // Never show the line: it may hold the user's secrets.
    stop(BROKEN, `an order of ${line.length} characters is not JSON`);
  }
  if (order === null || typeof order !== 'object') stop(BROKEN, 'an order is not an object');
  if (order.activation_id !== undefined) run(order);
  else if (order.init !== undefined) initialise(order.init);
  else stop(BROKEN, 'an order is neither an initialisation nor a run');
}

/**
 * Moves the orders away from descriptor 0, which gets an empty input: user
 * code that reads standard input, or a child that inherits it, must not eat
 * them. Opening a pipe by its name in /proc gives a second descriptor of it;
 * where that is not possible (a socket, another user's pipe, no /proc), 0
 * stays what it is.
 */
function takeInput() {
  const { O_RDONLY, O_NONBLOCK } = fs.constants;
  let input;
  try {
    input = fs.openSync('/proc/self/fd/0', O_RDONLY | O_NONBLOCK);
    const empty = fs.openSync('/dev/null', O_RDONLY);
    fs.closeSync(0);
    // The lowest free descriptor is the one that was just closed.
    fs.openSync('/dev/null', O_RDONLY);
    fs.closeSync(empty);
  } catch {
    return input === undefined ? 0 : input;
  }
  return input;
}

standIn('stdout', 1, 'O');
standIn('stderr', 2, 'E');
shortenConsole();
process.on('exit', () => {
  const rest = currentOwner().rest();
  if (rest !== '') send(rest);
});

const orders = new net.Socket({
  fd: takeInput(),
  readable: true,
  writable: false,
  onread: { buffer: Buffer.allocUnsafeSlow(65536), callback: onBytes },
});
orders.on('end', () => process.exit(0));
orders.on('error', error => stop(BROKEN, `cannot read orders: ${error.code}`));
orders.resume();

/**
 * While nobody has asked for anything yet: loads what an action in one text
 * needs, and goes once the way that it will go, so that the first run of a
 * prewarmed container does not wait for it.
 */
setImmediate(() => {
  if (begun) return;
  const handle = fromText('blank', 'main', 'function main(args) { return args }');
  stringify(handle(parse('{"blank":{}}')));
  for (const name of ['stdout', 'stderr']) process[name].listenerCount('error');
  framed(`O ${owner.id} ${micros()} `, '');
});
