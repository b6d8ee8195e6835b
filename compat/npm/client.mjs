// The client that everybody uses, pointed at the server under test, and how to
// wait for what comes a moment later.
import openwhisk from 'openwhisk';

const { WHISKER_URL, WHISKER_AUTH } = process.env;
if (!WHISKER_URL || !WHISKER_AUTH) throw new Error('set WHISKER_URL and WHISKER_AUTH to the server under test');

export const client = openwhisk({ apihost: WHISKER_URL, api_key: WHISKER_AUTH });

/** Repeats a call until it succeeds and `right` likes what it gives. */
export async function eventually(call, right = () => true, withinMs = 30000) {
  for (const start = Date.now(); ; ) {
    let last;
    try {
      last = await call();
      if (right(last)) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() - start > withinMs) throw new Error(`not within ${withinMs} ms; last seen: ${JSON.stringify(last) ?? last}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A refusal with this status; its words. */
export async function refused(status, call) {
  try {
    await call();
  } catch (error) {
    if (error.statusCode !== status) throw error;
    return error.error.error;
  }
  throw new Error(`done, where ${status} was to come`);
}

export const HELLO = "function main({ name = 'world' }) { console.log('greeting ' + name); return { greeting: `Hello, ${name}!` } }";
