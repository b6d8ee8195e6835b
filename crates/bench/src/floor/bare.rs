//! What the machine does without any server: processes, files, rows.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rusqlite::Connection;

use crate::{
    Settings,
    latencies::median,
    report::{Figure, Report, Wanted},
};

/// Bytes of a record, about.
const RECORD: [u8; 600] = [b'r'; 600];

/// An interpreter, and what it runs.
pub struct Program {
    /// Its path or name.
    pub binary: &'static str,
    flag: &'static str,
    hello: &'static str,
    waiting: &'static str,
    code: &'static str,
}

/// Node.js.
pub const NODE: Program = Program {
    binary: "/usr/bin/node",
    flag: "-e",
    hello: "
const fs = require('fs');
const main = params => ({ greeting: `Hello, ${params.name}!` });
const bytes = Buffer.alloc(65536);
let text = '';
for (let length; (length = fs.readSync(0, bytes)) > 0;) {
  text += bytes.latin1Slice(0, length);
  for (let end; (end = text.indexOf('\\n')) >= 0; text = text.slice(end + 1)) {
    fs.writeSync(1, JSON.stringify(main(JSON.parse(text.slice(0, end)))) + '\\n');
  }
}",
    waiting: "
process.stdin.once('data', code => {
  const main = new Function(`${code}; return main;`)();
  require('fs').writeSync(1, JSON.stringify(main({ name: 'Whisker' })) + '\\n');
});
require('fs').writeSync(1, 'ready\\n');",
    code: "function main(params) { return { greeting: `Hello, ${params.name}!` }; }\n",
};

/// Python.
pub const PYTHON: Program = Program {
    binary: "/usr/bin/python3",
    flag: "-c",
    hello: "
import json, os
def main(params):
    return {'greeting': f\"Hello, {params['name']}!\"}
text = b''
while True:
    piece = os.read(0, 65536)
    if not piece:
        break
    text += piece
    while b'\\n' in text:
        line, text = text.split(b'\\n', 1)
        os.write(1, json.dumps(main(json.loads(line))).encode() + b'\\n')
",
    waiting: "
import json, os
os.write(1, b'ready\\n')
names = {}
exec(os.read(0, 65536), names)
os.write(1, json.dumps(names['main']({'name': 'Whisker'})).encode() + b'\\n')
",
    code: "def main(params):\n    return {'greeting': f\"Hello, {params['name']}!\"}\n",
};

impl Program {
    /// To answer line by line.
    pub fn arguments(&self) -> [&'static str; 2] {
        [self.flag, self.hello]
    }

    /// Milliseconds from exec to the first answer over a pipe.
    pub fn start_ms(&self) -> anyhow::Result<f64> {
        let began = Instant::now();
        let mut run = Running::start(self, self.hello)?;
        run.orders.write_all(b"{\"name\":\"Whisker\"}\n")?;
        run.answer()?;
        Ok(ms(began.elapsed()))
    }

    /// Milliseconds from code to answer, of a process that waits for code.
    pub fn inject_ms(&self) -> anyhow::Result<f64> {
        let mut run = Running::start(self, self.waiting)?;
        run.answer()?;
        // It was told to wait after it had said so.
        whisker_testkit::pause(Duration::from_millis(50));
        let began = Instant::now();
        run.orders.write_all(self.code.as_bytes())?;
        run.answer()?;
        Ok(ms(began.elapsed()))
    }
}

struct Running {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Running {
    fn start(program: &Program, script: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(program.binary)
            .args([program.flag, script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.binary))?;
        let orders = child.stdin.take().context("it is piped")?;
        let answers = BufReader::new(child.stdout.take().context("it is piped")?);
        Ok(Self { child, orders, answers })
    }

    fn answer(&mut self) -> anyhow::Result<()> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("it ended without an answer");
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures all of it.
pub fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let bare = |what, unit| Figure { goal: 0, what, unit, wanted: Wanted::Nothing };
    for _ in settings.rounds() {
        report.add(bare("bare: Node starts and answers", "ms"), None, several(5, || NODE.start_ms())?);
        report.add(bare("bare: Python starts and answers", "ms"), None, several(5, || PYTHON.start_ms())?);
        report.add(bare("bare: waiting Node gets code and answers", "ms"), None, several(5, || NODE.inject_ms())?);
        report.add(bare("bare: waiting Python gets code and answers", "ms"), None, several(5, || PYTHON.inject_ms())?);
        report.add(bare("bare: bubblewrap, all unshared, runs `true`", "ms"), None, several(10, bubblewrap_ms)?);
        report.add(bare("bare: append of 600 bytes and fdatasync", "µs"), None, append_us(1)?);
        report.add(bare("bare: append of 64 × 600 bytes and fdatasync", "µs"), None, append_us(64)?);
        report.add(bare("bare: SQLite, a row a commit, not synced", "rows/s"), None, rows_a_second(1)?);
        report.add(bare("bare: SQLite, 64 rows a commit, not synced", "rows/s"), None, rows_a_second(64)?);
    }
    Ok(())
}

/// The median of several tries.
pub fn several(tries: usize, one: impl Fn() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    Ok(median(&(0..tries).map(|_| one()).collect::<Result<Vec<_>, _>>()?))
}

fn bubblewrap_ms() -> anyhow::Result<f64> {
    let began = Instant::now();
    let status = Command::new("bwrap")
        .args(["--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--tmpfs", "/tmp", "/bin/true"])
        .stderr(Stdio::null())
        .status()
        .context("bubblewrap is missing")?;
    if !status.success() {
        bail!("bubblewrap cannot isolate here");
    }
    Ok(ms(began.elapsed()))
}

fn append_us(records: usize) -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile()?;
    let group = RECORD.repeat(records);
    let mut times = Vec::new();
    for _ in 0..500 {
        let began = Instant::now();
        file.write_all(&group)?;
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(&times))
}

fn rows_a_second(group: usize) -> anyhow::Result<f64> {
    const ROWS: usize = 20_000;
    let folder = tempfile::tempdir()?;
    let connection = Connection::open(folder.path().join("floor.db"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.execute_batch("CREATE TABLE records (row INTEGER PRIMARY KEY, record BLOB)")?;
    let began = Instant::now();
    for _ in 0..ROWS / group {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut insert = connection.prepare_cached("INSERT INTO records (record) VALUES (?)")?;
        for _ in 0..group {
            insert.execute([&RECORD[..]])?;
        }
        connection.execute_batch("COMMIT")?;
    }
    Ok(ROWS as f64 / began.elapsed().as_secs_f64())
}

/// A duration in ms.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
