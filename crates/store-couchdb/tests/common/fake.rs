//! A server that answers as it is told: with what CouchDB's documentation says
//! that CouchDB answers, where the one that tests start says something else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// What is answered.
#[derive(Clone)]
pub enum Reply {
    /// A status and a body.
    Answer(u16, String),
    /// This line, and the connection stays open.
    Feed(String),
    /// The answer after this.
    Late(Duration, u16, String),
    /// Nothing, ever.
    Silence,
}

pub fn answer(status: u16, body: &str) -> Reply {
    Reply::Answer(status, body.to_owned())
}

#[derive(Default)]
struct State {
    /// Replies by `METHOD /target`, in their order; the last one stays.
    replies: HashMap<String, Vec<Reply>>,
    asked: Vec<(String, String)>,
}

/// The server. It knows the databases `whisker_*` and all design documents.
#[derive(Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    pub port: u16,
}

impl Fake {
    pub async fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Fake { state: Arc::default(), port: listener.local_addr().unwrap().port() };
        let serving = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        fake
    }

    pub fn url(&self, parameters: &str) -> String {
        format!("couchdb://anna:hunter2@127.0.0.1:{}/?{parameters}", self.port)
    }

    pub fn on(&self, asked: &str, replies: impl IntoIterator<Item = Reply>) -> &Fake {
        self.state.lock().unwrap().replies.insert(asked.to_owned(), replies.into_iter().collect());
        self
    }

    /// Bodies of what was asked so.
    pub fn bodies(&self, asked: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.asked.iter().filter(|(line, _)| line == asked).map(|(_, body)| body.clone()).collect()
    }

    fn reply(&self, asked: &str, body: String) -> Reply {
        let mut state = self.state.lock().unwrap();
        state.asked.push((asked.to_owned(), body));
        if let Some(replies) = state.replies.get_mut(asked) {
            return if replies.len() > 1 { replies.remove(0) } else { replies[0].clone() };
        }
        let is_opening = asked == "GET /" || asked.contains("/_design/") || asked.matches('/').count() == 1;
        if asked.starts_with("GET ") && is_opening {
            return answer(200, r#"{"couchdb":"Welcome"}"#);
        }
        answer(404, r#"{"error":"not_found","reason":"missing"}"#)
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
            assert!(head.contains("authorization: Basic YW5uYTpodW50ZXIy"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            stream.read_exact(&mut body).await.ok()?;
            let line = head.lines().next().unwrap().strip_suffix(" HTTP/1.1").unwrap();
            let (status, body) = match self.reply(line, String::from_utf8(body).unwrap()) {
                Reply::Answer(status, body) => (status, body),
                Reply::Late(pause, status, body) => {
                    tokio::time::sleep(pause).await;
                    (status, body)
                }
                Reply::Silence => std::future::pending().await,
                Reply::Feed(line) => {
                    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                    let chunk = format!("{head}{:x}\r\n{line}\n\r\n", line.len() + 1);
                    stream.write_all(chunk.as_bytes()).await.ok()?;
                    std::future::pending().await
                }
            };
            let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
    }
}
