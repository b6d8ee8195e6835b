//! Content negotiation: an answer that the client says it cannot take is 406.

use http::{HeaderMap, header};

use crate::{rejection::Rejection, reply::Reply};

/// The reply, unless the request's `Accept` excludes its type. Errors and bare
/// statuses are told whatever the client accepts.
pub fn negotiated(request: &HeaderMap, reply: Reply) -> Reply {
    let mut accept = request.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).peekable();
    if accept.peek().is_none() || !reply.is_negotiable() {
        return reply;
    }
    match reply.content_type() {
        Some(offered) if !accept.any(|ranges| accepts(ranges, offered)) => {
            Rejection::NotAcceptable(offered.to_owned()).into_reply()
        }
        _ => reply,
    }
}

/// Whether a list of media ranges includes a type; `q=0` excludes.
fn accepts(ranges: &str, offered: &str) -> bool {
    let essence = offered.split(';').next().unwrap_or("").trim();
    let main = essence.split('/').next().unwrap_or("");
    ranges.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or("");
        let refused = parts.any(|p| p.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0)));
        let matches = name == "*/*"
            || name == "*"
            || name.eq_ignore_ascii_case(essence)
            || name.strip_suffix("/*").is_some_and(|m| m.eq_ignore_ascii_case(main));
        matches && !refused
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};

    use super::*;

    #[test]
    fn a_bare_status_is_told_to_clients_that_want_json() {
        let wants_json = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("application/json"))]);
        for (reply, status) in [
            (Reply::words(StatusCode::OK), StatusCode::OK),
            (Reply::text(StatusCode::OK, "pong"), StatusCode::NOT_ACCEPTABLE),
            (Reply::error(StatusCode::NOT_FOUND, ""), StatusCode::NOT_FOUND),
        ] {
            assert_eq!(negotiated(&wants_json, reply).status(), status);
        }
    }

    #[test]
    fn ranges_are_matched_by_essence() {
        for (ranges, yes) in [
            ("*/*", true),
            ("text/html, application/json;q=0.9", true),
            ("application/*", true),
            ("application/json; charset=utf-8", true),
            ("text/html", false),
            ("application/json;q=0", false),
            ("", false),
        ] {
            assert_eq!(accepts(ranges, "application/json"), yes, "{ranges}");
        }
    }
}
