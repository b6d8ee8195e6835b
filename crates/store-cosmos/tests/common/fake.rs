//! A server that answers as it is told: with what Cosmos DB's documentation says
//! that it answers, where its relative that tests start says something else.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use whisker_store_cosmos::{Config, Cosmos, OpenError};

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `METHOD /target`.
    pub line: String,
    head: String,
    pub body: String,
}

impl Asked {
    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    silent: bool,
}

impl Reply {
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }
}

pub fn answer(status: u16, body: impl ToString) -> Reply {
    Reply { status, headers: Vec::new(), body: body.to_string(), silent: false }
}

/// Nothing, ever.
pub fn silence() -> Reply {
    Reply { silent: true, ..answer(200, "") }
}

type Handler = Arc<dyn Fn(&Asked) -> Option<Reply> + Send + Sync>;

/// The server. It has the database `db`, its containers with one range each,
/// and whatever else its handler says.
#[derive(Clone)]
pub struct Fake {
    handler: Handler,
    asked: Arc<Mutex<Vec<Asked>>>,
    port: u16,
}

/// The account's key, which no text may show.
pub const KEY: &str = "c2VjcmV0LXNlY3JldA==";

impl Fake {
    pub async fn start(handler: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fake = Fake { handler: Arc::new(handler), asked: Arc::default(), port };
        let serving = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        fake
    }

    pub async fn open(&self, patience: Duration) -> Result<Cosmos, OpenError> {
        let mut config = Config::parse("cosmos://localhost/db", Some(KEY)).unwrap();
        config.base = format!("http://127.0.0.1:{}", self.port);
        config.patience = patience;
        Cosmos::open(&config).await
    }

    /// What was asked so.
    pub fn asked(&self, line: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.line == line).cloned().collect()
    }

    fn reply(&self, asked: &Asked) -> Reply {
        if let Some(reply) = (self.handler)(asked) {
            return reply;
        }
        match asked.line.as_str() {
            "GET /" | "GET /dbs/db" => answer(200, json!({"id": "db"})),
            line if line.ends_with("/pkranges") => answer(200, json!({"PartitionKeyRanges": [{"id": "0"}]})),
            line if line.starts_with("GET /dbs/db/colls/") && line.matches('/').count() == 4 => {
                answer(200, json!({"id": "x", "partitionKey": {"paths": ["/id"], "kind": "Hash"}}))
            }
            _ => answer(404, json!({"code": "NotFound", "message": "Resource Not Found."})),
        }
    }

    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).await.ok()? == 0 {
                    return None;
                }
            }
            let line = head.lines().next().unwrap().strip_suffix(" HTTP/1.1").unwrap().to_owned();
            let mut asked = Asked { line, head, body: String::new() };
            assert!(asked.header("authorization").unwrap().starts_with("type%3Dmaster"), "{asked:?}");
            let mut body = vec![0; asked.header("content-length").map_or(0, |length| length.parse().unwrap())];
            stream.read_exact(&mut body).await.ok()?;
            asked.body = String::from_utf8(body).unwrap();
            let reply = self.reply(&asked);
            self.asked.lock().unwrap().push(asked);
            if reply.silent {
                std::future::pending::<()>().await;
            }
            let headers: String = reply.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let length = if reply.status == 304 { 0 } else { reply.body.len() };
            let head = format!("HTTP/1.1 {} Said\r\n{headers}content-length: {length}\r\n\r\n", reply.status);
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&reply.body.as_bytes()[..length]).await.ok()?;
        }
    }
}
