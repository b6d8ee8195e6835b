//! Several servers on one database, and what is said when one cannot be used.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use whisker_store::{
    Activations, Change, Changes, Entities, Subjects,
    testing::samples::{all_of, parse, records, subject, trigger},
};
use whisker_store_postgres::{Config, OpenError, Postgres};
use whisker_testkit as kit;

fn config(server: &kit::Postgres, url: &str) -> Config {
    Config::parse(url, Some(server.password())).unwrap()
}

async fn told(changes: &mut Changes) -> Change {
    loop {
        // Each is told once that it did not hear the beginning.
        match changes.next().await {
            Change::Anything => {}
            change => return change,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_at_once_make_the_tables_once() {
    let server = kit::Postgres::shared();
    let url = server.database();
    let starts: Vec<_> = (0..6)
        .map(|_| {
            let config = config(&server, &url);
            tokio::spawn(async move { Postgres::open(&config).await.map(Arc::new) })
        })
        .collect();
    let mut stores = Vec::new();
    for start in starts {
        stores.push(start.await.unwrap().unwrap());
    }
    let writes = stores.iter().zip(0..).map(|(store, n): (_, u64)| {
        let store = store.clone();
        tokio::spawn(async move {
            // Each makes the same days.
            for round in 0..10 {
                Activations::put(&*store, &records(n * 100 + round * 5..n * 100 + round * 5 + 5)).await.unwrap();
            }
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    assert_eq!(Activations::count(&*stores[3], &all_of("ns")).await.unwrap(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_hears_what_another_writes() {
    let server = kit::Postgres::shared();
    let url = server.database();
    let one = Postgres::open(&config(&server, &url)).await.unwrap();
    let other = Postgres::open(&config(&server, &url)).await.unwrap();
    let (mut documents, mut users) = (Entities::changes(&other), Subjects::changes(&other));
    // It listens from its first word on.
    assert_eq!(documents.next().await, Change::Anything);
    assert_eq!(users.next().await, Change::Anything);
    let longest = "n".repeat(256);
    for name in ["ns/t", &format!("{longest}/{longest}/{longest}")] {
        let document = trigger("ns/t", 1);
        let document = if name == "ns/t" { document } else { whisker_store::testing::samples::sequence(name, 1) };
        let first = Entities::put(&one, &document, None).await.unwrap();
        assert_eq!(told(&mut documents).await, Change::Document(parse(name)));
        Entities::delete(&one, &parse(name), &first).await.unwrap();
        assert_eq!(told(&mut documents).await, Change::Document(parse(name)));
    }
    Subjects::put(&one, &subject("anna", &[("ns", "u-1")])).await.unwrap();
    assert_eq!(users.next().await, Change::Anything);
}

#[tokio::test]
async fn what_cannot_be_opened_is_said_without_secrets() {
    let server = kit::Postgres::shared();
    let url = server.database();
    let wrong = Config::parse(&url, Some("hunter2")).unwrap();
    let nobody = Config::parse("postgres://anna:hunter2@localhost:1/db", None).unwrap();
    let missing = config(&server, &server.url("missing"));
    for (config, words) in [
        (wrong, "password authentication failed"),
        (nobody, "error connecting to server"),
        (missing, "database \"missing\" does not exist"),
    ] {
        let error = Postgres::open(&config).await.unwrap_err();
        let mut text = format!("{error:?} {error}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text += &format!(": {cause}");
            source = cause.source();
        }
        assert!(text.contains(words), "{text}");
        assert!(!text.contains("hunter2") && !text.contains(server.password()), "{text}");
    }
}

#[tokio::test]
async fn newer_tables_are_refused() {
    let server = kit::Postgres::shared();
    let url = server.database();
    drop(Postgres::open(&config(&server, &url)).await.unwrap());
    server.sql(&url, "INSERT INTO migrations (version) VALUES (1000)");
    let refused = Postgres::open(&config(&server, &url)).await;
    assert!(matches!(refused, Err(OpenError::Newer { found: 1000, known: 1 })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sslmode_is_kept() {
    let server = kit::Postgres::shared();
    let plain = server.database();
    let name = plain.rsplit('/').next().unwrap().split('?').next().unwrap();
    let certificate = server.certificate().display().to_string();
    let url = |host: &str, query: &str| format!("postgres://postgres@{host}:{}/{name}?{query}", server.port());
    for (host, query, encrypted) in [
        ("localhost", "sslmode=disable".to_owned(), Ok("f")),
        ("localhost", String::new(), Ok("t")),
        ("127.0.0.1", "sslmode=require".to_owned(), Ok("t")),
        ("localhost", format!("sslmode=verify-full&sslrootcert={certificate}"), Ok("t")),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={certificate}"), Ok("t")),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={certificate}"), Err("not valid for name")),
        ("localhost", "sslmode=verify-full".to_owned(), Err("invalid peer certificate")),
        ("localhost", "sslmode=verify-ca".to_owned(), Err("invalid peer certificate")),
        ("localhost", "sslmode=verify-full&sslrootcert=/none".to_owned(), Err("/none")),
    ] {
        let opened = Postgres::open(&config(&server, &url(host, &query))).await;
        match encrypted {
            Ok(encrypted) => {
                let _store = opened.unwrap();
                let count = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                    WHERE application_name = 'whisker' AND datname = current_database()";
                // One of an earlier round may not have ended yet.
                kit::eventually(std::time::Duration::from_secs(10), || match server.sql(&plain, count) {
                    seen if seen == encrypted => Ok(()),
                    seen => Err(format!("{host} {query}: {seen}")),
                });
            }
            Err(words) => {
                let error = opened.unwrap_err();
                let mut text = error.to_string();
                let mut source = std::error::Error::source(&error);
                while let Some(cause) = source {
                    text += &format!(": {cause}");
                    source = cause.source();
                }
                assert!(text.contains(words), "{host} {query}: {text}");
            }
        }
    }
}
