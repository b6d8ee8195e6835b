//! What is said to Consul, and what is made of its answers.
//!
//! `tests/exchanges.json` was recorded from Consul 1.10.0. Here it is played
//! back: each answer comes when those before it were given, so that a blocking
//! query is answered after what it waited for. With `CONSUL=http://HOST:PORT`
//! a real agent answers instead, and with `RECORD=FILE` as well the exchanges
//! are recorded anew.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use whisker_bus::{InvokerId, InvokerInstance, InvokerPing, News, NewsSink};
use whisker_discovery_consul::{CONTROLLERS, Config, Members, Registration, Service, Watch};

/// Longest that anything may take here: machines that run tests are busy.
const LONG: Duration = Duration::from_secs(90);
const EXCHANGES: &str = include_str!("exchanges.json");

/// An agent: recorded, or a real one behind this.
struct Agent {
    url: String,
    seen: Arc<Mutex<Vec<Value>>>,
}

/// What a recording says, and how far it was played.
struct Played {
    exchanges: Vec<Value>,
    /// Which were answered; told with each that is.
    answered: watch::Sender<BTreeSet<usize>>,
    /// Which were asked for.
    taken: Mutex<BTreeSet<usize>>,
}

impl Played {
    /// The answer to a request, in its turn; that to the last of its kind again
    /// if there are more than were recorded. A query that nothing follows waits.
    async fn answer(&self, method: &str, target: &str) -> Value {
        let is_it = |exchange: &Value| exchange["method"] == method && exchange["target"] == target;
        let place = {
            let mut taken = self.taken.lock().unwrap();
            let next = (0..self.exchanges.len()).find(|n| !taken.contains(n) && is_it(&self.exchanges[*n]));
            next.inspect(|n| {
                taken.insert(*n);
            })
        };
        let Some(place) = place else {
            let last = self.exchanges.iter().rfind(|exchange| is_it(exchange));
            match last {
                Some(again) if method == "PUT" => return again.clone(),
                Some(_) => return std::future::pending().await,
                None => return json!({"status": 500, "headers": {}, "answer": format!("unknown: {method} {target}")}),
            }
        };
        let mut answered = self.answered.subscribe();
        answered.wait_for(|answered| (0..place).all(|n| answered.contains(&n))).await.unwrap();
        self.answered.send_modify(|answered| {
            answered.insert(place);
        });
        self.exchanges[place].clone()
    }
}

impl Agent {
    async fn start() -> Agent {
        let real = std::env::var("CONSUL").ok();
        let exchanges: Vec<Value> = serde_json::from_str(EXCHANGES).unwrap();
        let played =
            Arc::new(Played { exchanges, answered: watch::Sender::new(BTreeSet::new()), taken: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let of_task = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (real, played, seen) = (real.clone(), played.clone(), of_task.clone());
                let answer = service_fn(move |request| exchange(request, real.clone(), played.clone(), seen.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Agent { url, seen }
    }

    fn config(&self) -> Config {
        let mut config = Config::new(self.url.parse().unwrap());
        config.token = Some(http::HeaderValue::from_static("s3cret"));
        // Renewed less often than a test takes.
        config.ttl = Duration::from_secs(900);
        config
    }

    fn bodies(&self, target: &str) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|exchange| exchange["target"] == target).map(|exchange| exchange["body"].clone()).collect()
    }
}

async fn exchange(
    request: Request<Incoming>,
    real: Option<String>,
    played: Arc<Played>,
    seen: Arc<Mutex<Vec<Value>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.headers()["x-consul-token"], "s3cret");
    let (method, target) = (request.method().clone(), request.uri().to_string());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let answer = match real {
        None => played.answer(method.as_str(), &target).await,
        Some(real) => ask(&real, &method, &target, body.clone()).await,
    };
    let told = json!({
        "method": method.as_str(), "target": target, "body": serde_json::from_slice(&body).unwrap_or(Value::Null),
        "status": answer["status"], "headers": answer["headers"], "answer": answer["answer"],
    });
    seen.lock().unwrap().push(told);
    let mut response = Response::builder().status(u16::try_from(answer["status"].as_u64().unwrap()).unwrap());
    for (name, value) in answer["headers"].as_object().unwrap() {
        response = response.header(name, value.as_str().unwrap());
    }
    let text = match &answer["answer"] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    Ok(response.body(Full::new(Bytes::from(text))).unwrap())
}

async fn ask(real: &str, method: &Method, target: &str, body: Bytes) -> Value {
    let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(HttpConnector::new());
    let request = Request::builder().method(method).uri(format!("{real}{target}")).body(Full::new(body)).unwrap();
    let response = client.request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    let index = head.headers.get("x-consul-index").map(|value| ("x-consul-index", value.to_str().unwrap().to_owned()));
    json!({
        "status": head.status.as_u16(),
        "headers": BTreeMap::from_iter(index),
        "answer": serde_json::from_slice::<Value>(&text).unwrap_or_else(|_| String::from_utf8_lossy(&text).into()),
    })
}

/// Pings as they are heard.
struct Ears(mpsc::UnboundedSender<InvokerPing>);

impl NewsSink for Ears {
    fn heard(&self, news: News) {
        let News::Invoker(ping) = news else { panic!("{news:?}") };
        let _ = self.0.send(ping);
    }
}

async fn until(heard: &mut mpsc::UnboundedReceiver<InvokerPing>, enabled: bool) -> InvokerPing {
    let found = async {
        loop {
            let ping = heard.recv().await.unwrap();
            if ping.enabled == enabled {
                return ping;
            }
        }
    };
    timeout(LONG, found).await.unwrap_or_else(|_| panic!("no invoker that is enabled: {enabled}"))
}

#[tokio::test]
async fn an_invoker_comes_is_seen_and_goes() {
    let agent = Agent::start().await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let end = CancellationToken::new();
    let watching = tokio::spawn(Watch::new(agent.config()).run(Arc::new(Ears(sender)), end.clone()));
    // The first query finds nobody; the second one waits.
    let first = async {
        while agent.seen.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, first).await.unwrap();

    let mut instance = InvokerInstance::new(InvokerId(3), "2 GB".parse().unwrap());
    instance.unique_name = Some("host-3".into());
    let ping = InvokerPing { instance: instance.clone(), enabled: true, incarnation: None };
    let service = Service::invoker(ping, [127, 0, 0, 1].into(), 3234);
    let leave = CancellationToken::new();
    let registered = tokio::spawn(Registration::new(agent.config(), service).run(leave.clone()));
    assert_eq!(
        until(&mut heard, true).await,
        InvokerPing { instance: instance.clone(), enabled: true, incarnation: None }
    );
    leave.cancel();
    registered.await.unwrap();
    assert_eq!(until(&mut heard, false).await.instance, instance);
    end.cancel();
    watching.await.unwrap();

    let body = &agent.bodies("/v1/agent/service/register")[0];
    assert_eq!((&body["ID"], &body["Name"]), (&json!("whisker-invoker3"), &json!("whisker-invoker")), "{body}");
    assert_eq!((&body["Check"]["TTL"], &body["Port"]), (&json!("900s"), &json!(3234)), "{body}");
    assert_eq!(body["Check"]["DeregisterCriticalServiceAfter"], "60s", "{body}");
    assert_eq!(agent.bodies("/v1/agent/service/deregister/whisker-invoker3").len(), 1);
    if let Some(file) = std::env::var_os("RECORD") {
        let seen = agent.seen.lock().unwrap();
        std::fs::write(file, serde_json::to_string_pretty(&*seen).unwrap() + "\n").unwrap();
    }
}

#[tokio::test]
async fn an_agent_that_forgot_a_service_is_told_anew() {
    // The first answer to a renewal is what a restarted agent says.
    let asked = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let of_task = asked.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let asked = of_task.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let asked = asked.clone();
                async move {
                    let mut asked = asked.lock().unwrap();
                    asked.push(request.uri().path().to_owned());
                    let forgot = asked.len() == 4;
                    let status = if forgot { 500 } else { 200 };
                    let words = if forgot { "Unknown check \"service:a\"" } else { "" };
                    Ok::<_, Infallible>(Response::builder().status(status).body(Full::new(Bytes::from(words))).unwrap())
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    let mut config = Config::new(url.parse().unwrap());
    config.ttl = Duration::from_millis(30);
    let service = Service { name: CONTROLLERS, id: "a".into(), address: [127, 0, 0, 1].into(), port: 3233, ping: None };
    let leave = CancellationToken::new();
    let registered = tokio::spawn(Registration::new(config, service).run(leave.clone()));
    let again = async {
        while asked.lock().unwrap().iter().filter(|path| path.ends_with("/register")).count() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, again).await.unwrap();
    leave.cancel();
    registered.await.unwrap();
    let asked = asked.lock().unwrap();
    let (register, pass) = ("/v1/agent/service/register", "/v1/agent/check/pass/service:a");
    assert_eq!(asked[..5], [register, pass, pass, pass, register]);
    assert_eq!(asked.last().unwrap(), "/v1/agent/service/deregister/a");
}

/// An answer to `/v1/health/service/…` with these invokers and statuses.
fn answer(entries: &[(u32, &str)]) -> Vec<u8> {
    let entry = |(id, status): &(u32, &str)| {
        let instance = InvokerInstance::new(InvokerId(*id), "1 GB".parse().unwrap());
        let ping = InvokerPing { instance, enabled: true, incarnation: None };
        json!({
            "Node": {"Node": "a", "Address": "127.0.0.1"},
            "Service": {"ID": id.to_string(), "Meta": {"whisker-ping": serde_json::to_string(&ping).unwrap()}},
            "Checks": [{"CheckID": "serfHealth", "Status": "passing"}, {"CheckID": "service:a", "Status": status}],
        })
    };
    serde_json::to_vec(&entries.iter().map(entry).collect::<Vec<_>>()).unwrap()
}

#[test]
fn who_passes_no_more_is_told_of_once() {
    let mut members = Members::default();
    let ids = |pings: Vec<InvokerPing>| pings.iter().map(|ping| (ping.instance.id.0, ping.enabled)).collect::<Vec<_>>();
    let passing = |members: &Members| members.pings().map(|ping| ping.instance.id.0).collect::<Vec<_>>();
    assert_eq!(ids(members.heard(&answer(&[(0, "passing"), (1, "critical"), (2, "passing")])).unwrap()), []);
    assert_eq!((passing(&members), members.all().count()), (vec![0, 2], 3));
    let next = answer(&[(0, "critical"), (1, "passing")]);
    assert_eq!(ids(members.heard(&next).unwrap()), [(0, false), (2, false)]);
    assert_eq!(passing(&members), [1]);
    assert_eq!(ids(members.heard(&next).unwrap()), []);
    // Two under one number, as after a move: the one that lives.
    members.heard(&answer(&[(1, "passing"), (1, "critical")])).unwrap();
    assert_eq!(passing(&members), [1]);
}

#[test]
fn strangers_in_an_answer_are_passed_over() {
    let mut members = Members::default();
    let stranger = json!([
        {"Node": {}, "Service": {"ID": "x", "Meta": null}, "Checks": []},
        {"Node": {}, "Service": {"ID": "y", "Meta": {"whisker-ping": "no ping"}}, "Checks": []},
    ]);
    assert_eq!(members.heard(stranger.to_string().as_bytes()).unwrap(), []);
    assert_eq!(members.all().count(), 0);
    assert!(members.heard(b"<html>").is_err());
}
