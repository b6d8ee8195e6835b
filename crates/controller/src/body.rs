//! Reading request bodies, within bounds of length, time and total memory.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use whisker_api::messages;
use whisker_entity::NamespaceLimits;

use crate::{
    config::Limits,
    rejection::Rejection,
    room::{Room, Share},
};

/// Reads bodies, within memory that all requests share.
pub struct Bodies {
    room: Room,
    limits: Limits,
}

/// How long a refused request may go on sending.
const DISCARDING: Duration = Duration::from_secs(5);

/// A body, and its share of the memory for all of them.
pub struct Read<'a> {
    /// The bytes.
    pub bytes: Bytes,
    _share: Share<'a>,
}

/// What a body may be.
#[derive(Clone, Copy)]
pub enum Kind {
    /// An entity.
    Entity,
    /// The arguments of an invocation.
    Payload,
    /// The same, of any type.
    Web,
}

impl Bodies {
    /// With all memory free.
    pub fn new(limits: &Limits) -> Self {
        Self { room: Room::new(limits.bodies_total_bytes), limits: limits.clone() }
    }

    /// Reads a body whole. One that must be JSON has to say so, unless it is
    /// empty. Payloads are bounded by the limits of whoever they are for.
    pub async fn read(
        &self,
        headers: &HeaderMap,
        body: &mut Incoming,
        kind: Kind,
        own: &NamespaceLimits,
    ) -> Result<Read<'_>, Rejection> {
        let reading = async {
            let max = match kind {
                Kind::Entity => self.limits.body_max_bytes,
                Kind::Payload | Kind::Web => self.limits.allowance(own).payload_bytes,
            };
            let too_large = |is: u64| match kind {
                Kind::Payload | Kind::Web => Rejection::PartTooLarge(messages::larger_than_allowed("Request", is, max)),
                Kind::Entity => Rejection::TooLarge,
            };
            let expected = body.size_hint().upper().unwrap_or(max);
            if expected > max {
                return Err(too_large(expected));
            }
            let typed = matches!(kind, Kind::Entity | Kind::Payload);
            if typed && (expected > 0 || body.size_hint().upper().is_none()) {
                check_type(headers)?;
            }
            let mut share = self.room.share();
            let bytes = collect(body, max, &mut share).await?.ok_or_else(|| too_large(max + 1))?;
            Ok(Read { bytes, _share: share })
        };
        tokio::time::timeout(self.limits.body_timeout, reading).await.unwrap_or(Err(Rejection::Slow))
    }

    /// Refuses a web request that says how large its body is and says too much.
    pub fn check_declared(&self, body: &Incoming, own: &NamespaceLimits) -> Result<(), Rejection> {
        let max = self.limits.allowance(own).payload_bytes;
        match body.size_hint().upper().filter(|&is| is > max) {
            Some(is) => Err(Rejection::PartTooLarge(messages::larger_than_allowed("Request", is, max))),
            None => Ok(()),
        }
    }

    /// Reads and forgets what a refused request left of its body. A client that
    /// is still sending when the connection ends never sees the answer. One
    /// that asked first whether to send it has its answer instead.
    pub async fn discard(&self, headers: &HeaderMap, body: &mut Incoming) {
        if body.is_end_stream() || headers.contains_key(header::EXPECT) {
            return;
        }
        let reading = async {
            let mut left = self.limits.body_max_bytes;
            while let Some(Ok(frame)) = body.frame().await {
                let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, |data| data.len() as u64)) else { return };
                left = rest;
            }
        };
        // Whether all came or not, the answer goes out now.
        let _ = tokio::time::timeout(DISCARDING, reading).await;
    }
}

/// The whole body, or `None` if it is longer than `max`.
async fn collect(body: &mut Incoming, max: u64, share: &mut Share<'_>) -> Result<Option<Bytes>, Rejection> {
    let mut whole = BytesMut::new();
    let mut first: Option<Bytes> = None;
    while let Some(frame) = body.frame().await {
        // The client broke off, or framed its body wrongly.
        let frame = frame.map_err(|_| Rejection::Bad(messages::BAD_REQUEST.into()))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = (first.as_ref().map_or(0, Bytes::len) + whole.len() + data.len()) as u64;
        if length > max {
            return Ok(None);
        }
        share.grow(length).await;
        match first.take() {
            // A body in one piece, as most are, is not copied.
            None if whole.is_empty() => first = Some(data),
            None => whole.extend_from_slice(&data),
            Some(piece) => {
                whole.extend_from_slice(&piece);
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(Some(first.unwrap_or_else(|| whole.freeze())))
}

/// Bodies are `application/json`, with or without a charset.
fn check_type(headers: &HeaderMap) -> Result<(), Rejection> {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let essence = declared.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if essence == "application/json" {
        return Ok(());
    }
    // What is no media type counts as none, and none as mere bytes.
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b))
    };
    let valid = essence.split_once('/').is_some_and(|(main, sub)| token(main) && token(sub));
    Err(Rejection::ContentType(if valid { essence } else { "application/octet-stream".into() }))
}
