//! The description of the API: the OpenAPI documents, and a page that shows
//! them and tries them out.
//!
//! The page is one file in the binary that loads nothing from elsewhere. Web
//! actions live on the same origin, so it keeps a key that is typed into it
//! nowhere but in the page itself, and shows only documents of this origin.

use bytes::Bytes;
use http::{HeaderName, StatusCode, header};

use crate::{
    config::Config,
    openapi::{self, Part},
    reply::{Cors, Reply},
    route::Piece,
};

/// The documents of one deployment: they do not change while it runs.
pub struct Docs {
    api: Bytes,
    platform: Bytes,
}

const PAGE: &str = include_str!("docs/index.html");

/// What the page may do: its own script and style, and calls to this origin.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

impl Docs {
    /// Those of a deployment with these settings.
    pub fn new(config: &Config) -> Self {
        let document = |part| openapi::document(part, config).to_string().into();
        Self { api: document(Part::Api), platform: document(Part::Platform) }
    }

    /// Serves a piece of the description, of the API or of what is outside it.
    pub fn serve(&self, api: bool, piece: Piece) -> Reply {
        match piece {
            Piece::Document => {
                let document = if api { &self.api } else { &self.platform };
                Reply::json_text(StatusCode::OK, document.clone()).cors(if api { Cors::Rest } else { Cors::Top })
            }
            Piece::Redirect if api => redirect(
                "docs/index.html?url=/api/v1/api-docs",
                "The request, and all future requests should be repeated using \
                 <a href=\"docs/index.html?url=/api/v1/api-docs\">this URI</a>.",
            ),
            Piece::Redirect => redirect(
                "docs/index.html?url=/api-docs",
                "The request, and all future requests should be repeated using \
                 <a href=\"docs/index.html?url=/api-docs\">this URI</a>.",
            )
            .cors(Cors::Bare),
            Piece::Page => Reply::bytes(StatusCode::OK, PAGE)
                .header(header::CONTENT_TYPE, "text/html; charset=UTF-8")
                .header(header::CONTENT_SECURITY_POLICY, POLICY)
                .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
                .header(HeaderName::from_static("referrer-policy"), "no-referrer")
                .cors(Cors::Bare),
        }
    }
}

fn redirect(to: &'static str, words: &'static str) -> Reply {
    Reply::bytes(StatusCode::PERMANENT_REDIRECT, words)
        .header(header::CONTENT_TYPE, "text/html; charset=UTF-8")
        .header(header::LOCATION, to)
}
