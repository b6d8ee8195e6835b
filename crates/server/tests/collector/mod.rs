//! A collector of OpenTelemetry's traces, over real HTTP.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::Value;
use whisker_testkit::eventually;

/// Longest that what is told may take to arrive: machines that run tests are busy.
pub const LONG: Duration = Duration::from_secs(60);

/// A collector of traces: the spans that it was sent.
pub struct Collector {
    address: SocketAddr,
    /// All spans that were sent, as they were.
    pub spans: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    /// Its thread ends with the test's process, as it waits for what may come.
    pub fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, spans) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let of_thread = spans.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let spans = of_thread.clone();
                thread::spawn(move || serve(stream, &spans));
            }
        });
        Collector { address, spans }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans of a trace, by name, once those of all these names are there.
    #[track_caller]
    pub fn spans(&self, trace: &str, names: &[&str]) -> BTreeMap<String, Value> {
        eventually(LONG, || {
            let all = self.spans.lock().unwrap().clone();
            let of_trace = all.iter().filter(|span| span["traceId"] == trace);
            let by_name: BTreeMap<String, Value> =
                of_trace.map(|span| (span["name"].as_str().unwrap().to_owned(), span.clone())).collect();
            match names.iter().all(|name| by_name.contains_key(*name)) {
                true => Ok(by_name),
                false => Err(format!("{all:?}")),
            }
        })
    }
}

fn serve(mut stream: TcpStream, spans: &Mutex<Vec<Value>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body: Value = serde_json::from_slice(&body).unwrap();
        spans.lock().unwrap().extend(body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone());
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").is_err() {
            return;
        }
    }
}

/// What a span says.
pub fn attribute(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    attributes
        .iter()
        .find(|attribute| attribute["key"] == key)
        .map_or(Value::Null, |a| a["value"]["stringValue"].clone())
}
