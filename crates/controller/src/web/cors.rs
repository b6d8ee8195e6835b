//! Cross-origin sharing: web actions are made to be called from pages of any
//! origin, and say so, unless they care for it themselves.
//!
//! A header that the action sets itself is left as it is. (OpenWhisk sends
//! both then, and browsers refuse an answer with two origins.)

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::reply::{ALLOWED_HEADERS, Cors, Reply};

const ALLOWED_METHODS: &str = "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH";

/// The reply, readable from any origin.
pub fn share(reply: Reply, request: &HeaderMap) -> Reply {
    // Whatever headers a page asks for are allowed: it is up to the action to look at them.
    let headers = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let headers = headers.cloned().unwrap_or_else(|| HeaderValue::from_static(ALLOWED_HEADERS));
    let sharing: [(HeaderName, HeaderValue); 3] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(ALLOWED_METHODS)),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, headers),
    ];
    let missing = |reply: Reply, (name, value)| if reply.has(&name) { reply } else { reply.with(name, value) };
    sharing.into_iter().fold(reply.cors(Cors::Bare), missing)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use whisker_entity::TransactionId;

    use super::*;

    #[test]
    fn what_a_page_asks_for_is_allowed_and_what_the_action_says_stays() {
        let mut request = HeaderMap::new();
        let sent = |request: &HeaderMap, reply: Reply| {
            let response = share(reply, request).finish(&TransactionId::generate(1, 2), false);
            let all = |name| response.headers().get_all(name).iter().map(|v| v.to_str().unwrap_or("?").to_owned());
            ["access-control-allow-origin", "access-control-allow-headers"].map(|name| all(name).collect::<Vec<_>>())
        };
        assert_eq!(sent(&request, Reply::empty(StatusCode::OK)), [vec!["*"], vec![ALLOWED_HEADERS]]);
        request.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("x-one, x-two"));
        let own = Reply::empty(StatusCode::OK)
            .with(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("https://a.example"));
        assert_eq!(sent(&request, own), [vec!["https://a.example"], vec!["x-one, x-two"]]);
    }
}
