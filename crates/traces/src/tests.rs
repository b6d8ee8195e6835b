#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::*;

/// A clock that goes on by a microsecond with each look, and dice that count.
fn at(kept_of_100_000: u32) -> Where {
    let (time, throw) = (AtomicU64::new(1_000_000), AtomicU64::new(1));
    Where {
        clock: Box::new(move || time.fetch_add(1_000, Ordering::Relaxed)),
        dice: Box::new(move || u128::from(throw.fetch_add(1, Ordering::Relaxed)) << 64 | 7),
        kept_of_100_000,
    }
}

/// A collector that answers with this status: its address, and what it gets.
async fn collector(status: u16) -> (String, mpsc::UnboundedReceiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    assert_eq!(request.uri().path(), "/v1/traces");
                    assert_eq!(request.headers()["content-type"], "application/json");
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let _ = sender.send(serde_json::from_slice(&body).unwrap());
                    let response = Response::builder().status(status).body(Full::new(Bytes::from("{}"))).unwrap();
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    (url, received)
}

fn spans(body: &Value) -> Vec<Value> {
    body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_trace_reaches_a_collector() {
    let (url, mut received) = collector(200).await;
    let (tracer, exporter) = Exporter::new(url.parse().unwrap(), "controller0".into(), "1.0", at(100_000));
    let cancel = CancellationToken::new();
    let running = tokio::spawn(exporter.run(cancel.clone()));

    let parent = Context::read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Some("v=1"));
    let mut request = tracer.begin("POST", Kind::Server, parent.as_ref()).unwrap();
    request.say("http.response.status_code", "200");
    let below = request.context().clone();
    tracer.told("run", Kind::Internal, &below, (5, 9), vec![("activation.id", "a".into())]);
    request.fail();
    request.end();

    let body = received.recv().await.unwrap();
    let resource = body["resourceSpans"][0]["resource"]["attributes"].to_string();
    assert!(resource.contains("service.name") && resource.contains("controller0"), "{resource}");
    let sent = spans(&body);
    let [run, request] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((run["name"].as_str(), run["startTimeUnixNano"].as_str()), (Some("run"), Some("5")));
    assert_eq!((run["endTimeUnixNano"].as_str(), run["kind"].as_u64()), (Some("9"), Some(1)));
    assert_eq!(run["attributes"][0]["value"]["stringValue"], "a");
    assert_eq!((&run["parentSpanId"], &run["traceId"]), (&request["spanId"], &request["traceId"]));
    assert_eq!(request["parentSpanId"], "b7ad6b7169203331");
    assert_eq!(request["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!((&request["traceState"], &request["status"]["code"]), (&"v=1".into(), &2.into()));
    assert_eq!(request["kind"], 2);

    // The end sends what is left.
    tracer.begin("GET", Kind::Server, None).unwrap().end();
    cancel.cancel();
    running.await.unwrap();
    assert_eq!(spans(&received.recv().await.unwrap())[0]["name"], "GET");
}

#[tokio::test]
async fn what_is_not_kept_goes_on_in_its_messages_alone() {
    let (url, mut received) = collector(200).await;
    let (tracer, exporter) = Exporter::new(url.parse().unwrap(), "a".into(), "1.0", at(0));
    let span = tracer.begin("GET", Kind::Server, None).unwrap();
    assert!(span.context().to_string().ends_with("-00"));
    drop(span);
    drop(tracer);
    exporter.run(CancellationToken::new()).await;
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn a_collector_that_refuses_or_is_away_holds_nobody_up() {
    let (refusing, mut received) = collector(503).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    for url in [refusing, away] {
        let (tracer, exporter) = Exporter::new(url.parse().unwrap(), "a".into(), "1.0", at(100_000));
        // More than there is room for, with nobody who sends.
        let ended = Arc::new(Mutex::new(0));
        for _ in 0..20_000 {
            tracer.begin("GET", Kind::Server, None).unwrap().end();
            *ended.lock().unwrap() += 1;
        }
        assert_eq!(*ended.lock().unwrap(), 20_000);
        let cancel = CancellationToken::new();
        cancel.cancel();
        exporter.run(cancel).await;
    }
    assert!(spans(&received.recv().await.unwrap()).len() <= 512);
    assert!(received.try_recv().is_err(), "at the end a collector that refuses is asked once");
}

#[test]
fn nothing_is_made_where_nobody_asks() {
    let tracer = Tracer::off();
    assert!(!tracer.is_on() && tracer.begin("GET", Kind::Server, None).is_none());
    assert_eq!(tracer.now(), 0);
}
