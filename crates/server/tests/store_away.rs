//! The database goes away under load: reads say so within a second, what was
//! accepted is recorded, and nothing is lost.
//!
//! `WHISKER_AWAY_SECONDS=60` makes it the long test that is run by hand.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use whisker_testkit::{Builder, Client, Cosmos, CouchDb, Postgres, Request, Server, eventually};

/// How long the database is away, unless the variable says otherwise.
const AWAY_SECONDS: u64 = 8;
/// Clients that invoke at the same time.
const CLIENTS: usize = 4;
/// Time between two invokes of one of them.
const PACE: Duration = Duration::from_millis(20);
/// Longest that a read may take meanwhile: a second, and what a busy machine adds.
const READ: Duration = Duration::from_millis(2_500);

/// Invokes without waiting until it is over; the ids that were accepted.
fn load(guest: &Client, accepted: &AtomicUsize, refused: &AtomicUsize, over: &AtomicBool) -> Vec<String> {
    let mut ids = Vec::new();
    let request = Request::new("POST", guest.target("actions/work")).json(&json!({"n": 1}));
    while !over.load(Ordering::Relaxed) {
        // More than that would only wait for containers.
        whisker_testkit::pause(PACE);
        let response = guest.send(&request);
        match response.status() {
            202 => {
                ids.push(response.json()["activationId"].as_str().expect("an id").to_owned());
                accepted.fetch_add(1, Ordering::Relaxed);
            }
            // Who asks cannot be found out any more.
            503 => {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            status => panic!("{status}: {}", response.text()),
        }
    }
    ids
}

/// What is answered once the store is not busy: until then it may count as away.
fn answered(client: &Client, path: &str) -> Value {
    eventually(Duration::from_secs(60), || {
        let answer = client.get(path);
        if answer.status() == 200 { Ok(answer.json()) } else { Err(answer.text()) }
    })
}

/// With these settings; the outage begins and ends as it is told to.
fn under_load(settings: &Builder, outage: impl Fn(bool)) {
    let seconds = std::env::var("WHISKER_AWAY_SECONDS").map_or(AWAY_SECONDS, |n| n.parse().expect("seconds"));
    let server = settings.start();
    let guest = server.guest();
    guest.node("work", "function main(p) { return p }");
    answered(&server.anyone(), "/ready");
    let (accepted, refused, over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let longest_ms = AtomicU64::new(0);

    let (ids, during) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| load(&guest, &accepted, &refused, &over))).collect();
        let enough = || match accepted.load(Ordering::Relaxed) {
            n if n >= 200 => Ok(()),
            n => Err(format!("{n} accepted")),
        };
        eventually(Duration::from_secs(60), enough);
        let before = accepted.load(Ordering::Relaxed);
        outage(true);
        let began = Instant::now();
        let mut reads = 0;
        // Whoever asks is known for some seconds without the store; what is
        // asked for is not.
        while began.elapsed() < Duration::from_secs(seconds) {
            let asked = Instant::now();
            let answer = guest.get(if reads % 2 == 0 { "activations" } else { "actions" });
            let took = asked.elapsed();
            assert_eq!(answer.status(), 503, "{}", answer.text());
            assert!(answer.text().contains("The store does not answer"), "{}", answer.text());
            assert!(took < READ, "a read took {took:?}");
            longest_ms.fetch_max(took.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
            reads += 1;
            whisker_testkit::pause(Duration::from_millis(50));
        }
        let ready = server.anyone().get("/ready");
        assert_eq!(ready.expect(503)["missing"], json!(["the store does not answer"]));
        let during = accepted.load(Ordering::Relaxed) - before;
        outage(false);
        eventually(Duration::from_secs(30), || match guest.get("actions").status() {
            200 => Ok(()),
            status => Err(status.to_string()),
        });
        // Some come after it, too.
        let back = accepted.load(Ordering::Relaxed);
        eventually(Duration::from_secs(60), || match accepted.load(Ordering::Relaxed) {
            n if n > back + 50 => Ok(()),
            n => Err(format!("{n} accepted, {back} when it was back")),
        });
        over.store(true, Ordering::Relaxed);
        let ids: Vec<String> =
            clients.into_iter().flat_map(|client| client.join().expect("no client panics")).collect();
        (ids, during)
    });

    let caught_up = Instant::now();
    eventually(Duration::from_secs(60), || match answered(&guest, "activations?count=true")["activations"].as_u64() {
        Some(n) if n == ids.len() as u64 => Ok(()),
        n => Err(format!("{n:?} records of {}", ids.len())),
    });
    let mut listed = BTreeSet::new();
    for skip in (0..).step_by(200) {
        let page = answered(&guest, &format!("activations?limit=200&skip={skip}"));
        let page = page.as_array().expect("a list");
        for record in page {
            assert!(listed.insert(record["activationId"].as_str().expect("an id").to_owned()), "twice: {record}");
        }
        if page.len() < 200 {
            break;
        }
    }
    let lost = ids.iter().filter(|id| !listed.contains(*id)).count();
    eprintln!(
        "away for {seconds} s: {} accepted, {during} of them meanwhile, {} refused; {lost} lost; \
         longest read {} ms; all recorded {:?} after the load",
        ids.len(),
        refused.load(Ordering::Relaxed),
        longest_ms.load(Ordering::Relaxed),
        caught_up.elapsed(),
    );
    assert_eq!(lost, 0);
    assert!(during > 0, "nothing was accepted while the database was away");
}

/// By turns with a database that is not, since the machine is not the same from
/// one moment to the next.
#[test]
fn a_slow_database_keeps_no_warm_call_waiting() {
    const ROUNDS: usize = 6;
    const CALLS: usize = 100;
    let database = Postgres::start();
    let url = database.database();
    let server = database.serving(&url).start();
    let guest = server.guest();
    guest.node("work", "function main(p) { return p }");
    database.sql(
        &url,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END';
        CREATE TRIGGER slow BEFORE INSERT ON activation_ids FOR EACH STATEMENT EXECUTE FUNCTION slow();",
    );
    let mut took = [Vec::new(), Vec::new()];
    guest.result("work", &json!({}));
    for round in 0..ROUNDS {
        let how = if round % 2 == 0 { "DISABLE" } else { "ENABLE" };
        database.sql(&url, &format!("ALTER TABLE activation_ids {how} TRIGGER slow"));
        for n in 0..CALLS {
            let began = Instant::now();
            guest.result("work", &json!({"n": n}));
            took[round % 2].push(began.elapsed());
        }
    }
    let [quick, slow] = took.map(|mut took| {
        took.sort();
        took[took.len() / 2]
    });
    let ratio = slow.as_secs_f64() / quick.as_secs_f64();
    eprintln!("half of the warm calls took less than {quick:?}; with 100 ms for each write {slow:?}, {ratio:.2} times");
    // Far below what a call that waited would take, and above what noise makes.
    assert!(slow < quick + Duration::from_millis(50), "{slow:?} instead of {quick:?}");
}

#[test]
fn nothing_is_lost_while_the_database_is_stopped() {
    let database = Postgres::durable();
    let settings = database.serving(&database.hasty_database());
    under_load(&settings, |away| if away { database.stop() } else { database.resume() });
}

#[test]
fn nothing_is_lost_while_the_database_hangs() {
    let database = Postgres::durable();
    let settings = database.serving(&database.hasty_database());
    under_load(&settings, |away| if away { database.freeze() } else { database.thaw() });
}

#[test]
fn nothing_is_lost_while_a_couchdb_is_cut_off() {
    let database = CouchDb::start(None);
    let settings = Server::builder().flag("--store", &database.hasty_url());
    under_load(&settings, |away| if away { database.cut() } else { database.mend() });
}

#[test]
fn nothing_is_lost_while_a_couchdb_hangs() {
    let database = CouchDb::start(None);
    let settings = Server::builder().flag("--store", &database.hasty_url());
    under_load(&settings, |away| if away { database.freeze() } else { database.thaw() });
}

#[test]
fn nothing_is_lost_while_a_cosmos_hangs() {
    let account = Cosmos::start();
    let settings = account.serving(&account.hasty_url());
    under_load(&settings, |away| if away { account.freeze() } else { account.thaw() });
}
