//! Clients that no library would be, in frames written by hand, on a paused clock.
#![allow(clippy::unwrap_used, reason = "tests")]

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END: u8 = 0x5;
/// `GET http:/`, of the static table.
const GET: &[u8] = &[0x82, 0x84, 0x86];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Serves this client; how long the connection lasted, in seconds.
async fn lasts<R>(
    client: impl AsyncFnOnce(&mut DuplexStream),
    answer: impl Fn(Request<Incoming>) -> R + Clone + Send + 'static,
) -> u64
where
    R: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let (ours, mut theirs) = duplex(1 << 20);
    let began = Instant::now();
    let serving = tokio::spawn(serve(ours, 96 * 1024, answer, CancellationToken::new()));
    client(&mut theirs).await;
    let mut rest = Vec::new();
    let (ended, _) = tokio::join!(serving, theirs.read_to_end(&mut rest));
    ended.unwrap();
    began.elapsed().as_secs()
}

async fn at_once(_: Request<Incoming>) -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from_static(b"pong")))
}

#[tokio::test(start_paused = true)]
async fn whoever_does_nothing_is_told_to_go_and_then_cut() {
    let bound = 10;
    for (name, bytes) in [
        ("nothing", Vec::new()),
        ("half a preface", PREFACE[..10].to_vec()),
        ("no request", [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()),
        // Without END_HEADERS: the rest would come in CONTINUATION frames.
        ("half a request", [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, 1, 1, GET)].concat()),
    ] {
        let lasted = lasts(async |client| client.write_all(&bytes).await.unwrap(), at_once).await;
        assert!((QUIET.as_secs()..=bound).contains(&lasted), "{name}: {lasted} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_long_is_waited_for() {
    let request = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, END, 1, GET)].concat();
    let slow = |request| async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        at_once(request).await
    };
    let lasted = lasts(async |client| client.write_all(&request).await.unwrap(), slow).await;
    assert!((60 + QUIET.as_secs()..=60 + 10).contains(&lasted), "{lasted} s");
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_take_an_answer_is_cut() {
    // SETTINGS_INITIAL_WINDOW_SIZE, which a client may set to nothing.
    let closed = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let request = [PREFACE, &closed, &frame(HEADERS, END, 1, GET)].concat();
    let long = |_| async { Response::new(Full::new(Bytes::from(vec![b'x'; 1 << 20]))) };
    let lasted = lasts(async |client| client.write_all(&request).await.unwrap(), long).await;
    assert!((PATIENCE.as_secs()..=PATIENCE.as_secs() + 2).contains(&lasted), "{lasted} s");
}

#[tokio::test(start_paused = true)]
async fn whoever_floods_with_requests_taken_back_is_cut() {
    let never = |_| std::future::pending::<Response<Full<Bytes>>>();
    let flood = async |client: &mut DuplexStream| {
        client.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
        let pairs = (0..10_000_u32).map(|n| 2 * n + 1);
        for stream in pairs {
            let taken_back = [frame(HEADERS, END, stream, GET), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat();
            if client.write_all(&taken_back).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("10,000 requests were taken and taken back");
    };
    assert!(lasts(flood, never).await <= 1);
}

#[test]
fn cookies_are_one_line() {
    let mut headers = HeaderMap::new();
    join_cookies(&mut headers);
    assert!(headers.is_empty());
    for cookie in ["a=1", "b=2", "c=3"] {
        headers.append(header::COOKIE, HeaderValue::from_static(cookie));
    }
    join_cookies(&mut headers);
    assert_eq!(headers.get_all(header::COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
}

#[test]
fn an_answer_comes_whole_in_pieces() {
    let traffic = Arc::new(Traffic::default());
    let sent = Bytes::from((0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<_>>());
    let mut body = Piecewise::new(Full::new(sent.clone()), traffic.begin());
    assert_eq!(body.size_hint().exact(), Some(200_000));
    let mut received = Vec::new();
    let mut context = Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(Some(Ok(piece))) = Pin::new(&mut body).poll_frame(&mut context) {
        received.extend_from_slice(&piece.into_data().unwrap());
    }
    assert!(body.is_end_stream() && received == sent);
}
