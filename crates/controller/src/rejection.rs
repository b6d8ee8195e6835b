//! Everything the API refuses, with its status: the only file that knows both.

use http::{StatusCode, header};
use whisker_api::{BodyError, messages};
use whisker_entity::QualifiedName;

use crate::reply::{Cors, Reply};

/// A request that is not done. Its text is shown to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// 401: no credentials, or not in a form we read.
    CredentialsMissing,
    /// 401: unknown, wrong or blocked.
    CredentialsRejected,
    /// 429: too many wrong credentials from one address.
    TooManyFailed,
    /// 404: no such path, or not with this method.
    NoSuchPath,
    /// 405: a path outside the API; which methods it has.
    Method(&'static str),
    /// 400: a name, path or id that cannot be.
    Invalid(String),
    /// 400: a query parameter.
    Query {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// 400 or 413: the body.
    Body(BodyError),
    /// 413: the whole request.
    TooLarge,
    /// 408: the body did not arrive.
    Slow,
    /// 415: the body's type.
    ContentType(String),
    /// 406: nothing that the client accepts; what there is.
    NotAcceptable(String),
    /// 431: the headers, or the URI, are too long.
    HeadersTooLarge,
    /// 403: whoever asks may not.
    Forbidden(String),
    /// 401: a web action that asks for credentials.
    Unauthorized,
    /// 404: a part of a web action's result.
    PropertyMissing,
    /// 404: a resource.
    Missing,
    /// 404: a resource, by name.
    MissingNamed(QualifiedName),
    /// 404: a rule to be switched on has lost its trigger.
    RuleWithoutTrigger,
    /// 409.
    Conflict(&'static str),
    /// 409: a package with so many actions is to go without them.
    NotEmpty(u64),
    /// 400: what the request asks for makes no sense.
    Bad(String),
    /// 422: what is stored leads nowhere.
    Unprocessable(String),
    /// 413: a part of the request.
    PartTooLarge(String),
    /// 429.
    Throttled(String),
    /// 500.
    Internal(&'static str),
    /// 503, in these words.
    Unavailable(&'static str),
}

impl Rejection {
    /// Status, text, and whether browsers of other origins may read it.
    ///
    /// What OpenWhisk's HTTP framework refuses carries no CORS headers; what
    /// its handlers refuse does. Clients in browsers see the difference.
    fn parts(&self) -> (StatusCode, Cors, String) {
        use Cors::{Bare, Rest};
        use StatusCode as S;
        match self {
            Self::CredentialsMissing => (S::UNAUTHORIZED, Bare, messages::CREDENTIALS_MISSING.into()),
            Self::CredentialsRejected => (S::UNAUTHORIZED, Bare, messages::CREDENTIALS_REJECTED.into()),
            Self::TooManyFailed => (S::TOO_MANY_REQUESTS, Bare, messages::TOO_MANY_FAILED.into()),
            Self::NoSuchPath => (S::NOT_FOUND, Bare, messages::NO_SUCH_PATH.into()),
            Self::Method(allow) => {
                (S::METHOD_NOT_ALLOWED, Bare, format!("HTTP method not allowed, supported methods: {allow}"))
            }
            Self::Invalid(text) => (S::BAD_REQUEST, Bare, text.clone()),
            Self::Query { name, detail } => (S::BAD_REQUEST, Bare, messages::malformed_query(name, detail)),
            Self::Body(error @ BodyError::Malformed(_)) => (S::BAD_REQUEST, Bare, error.to_string()),
            Self::Body(error @ BodyError::Refused(_)) => (S::BAD_REQUEST, Rest, error.to_string()),
            Self::Body(error @ BodyError::TooLarge { .. }) => (S::PAYLOAD_TOO_LARGE, Rest, error.to_string()),
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, Bare, messages::TOO_LARGE.into()),
            Self::Slow => (S::REQUEST_TIMEOUT, Bare, messages::BAD_REQUEST.into()),
            Self::ContentType(found) => (S::UNSUPPORTED_MEDIA_TYPE, Bare, messages::unsupported_type(found)),
            Self::NotAcceptable(offered) => (S::NOT_ACCEPTABLE, Bare, format!("{}{offered}", messages::NOT_ACCEPTABLE)),
            Self::HeadersTooLarge => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, Bare, messages::HEADERS_TOO_LARGE.into()),
            Self::Forbidden(text) => (S::FORBIDDEN, Rest, text.clone()),
            Self::Unauthorized => (S::UNAUTHORIZED, Rest, messages::UNAUTHORIZED.into()),
            Self::PropertyMissing => (S::NOT_FOUND, Rest, messages::PROPERTY_MISSING.into()),
            Self::Missing => (S::NOT_FOUND, Rest, messages::MISSING.into()),
            Self::MissingNamed(name) => (S::NOT_FOUND, Rest, messages::missing(name)),
            Self::Conflict(text) => (S::CONFLICT, Rest, (*text).into()),
            Self::RuleWithoutTrigger => (S::NOT_FOUND, Rest, messages::RULE_WITHOUT_TRIGGER.into()),
            Self::NotEmpty(count) => (S::CONFLICT, Rest, messages::package_not_empty(*count)),
            Self::Bad(text) => (S::BAD_REQUEST, Rest, text.clone()),
            Self::Unprocessable(text) => (S::UNPROCESSABLE_ENTITY, Rest, text.clone()),
            Self::PartTooLarge(text) => (S::PAYLOAD_TOO_LARGE, Rest, text.clone()),
            Self::Throttled(text) => (S::TOO_MANY_REQUESTS, Rest, text.clone()),
            Self::Internal(text) => (S::INTERNAL_SERVER_ERROR, Rest, (*text).into()),
            Self::Unavailable(text) => (S::SERVICE_UNAVAILABLE, Rest, (*text).into()),
        }
    }

    /// What a client would be told, for those who tell somebody else.
    pub fn told(&self) -> (StatusCode, String) {
        let (status, _, text) = self.parts();
        (status, text)
    }

    /// The answer that tells the client.
    pub fn into_reply(self) -> Reply {
        let (status, cors, text) = self.parts();
        let reply = Reply::error(status, text).cors(cors);
        match self {
            Self::CredentialsMissing | Self::CredentialsRejected => {
                reply.header(header::WWW_AUTHENTICATE, "Basic realm=\"OpenWhisk secure realm\",charset=UTF-8")
            }
            Self::Method(allow) => reply.header(header::ALLOW, allow),
            _ => reply,
        }
    }
}

impl From<BodyError> for Rejection {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<whisker_store::Error> for Rejection {
    fn from(error: whisker_store::Error) -> Self {
        use whisker_store::Error;
        match error {
            Error::Missing => Self::Missing,
            Error::Stale => Self::Conflict(messages::CONCURRENT_MODIFICATION),
            Error::TooLarge(max_bytes) => Self::PartTooLarge(messages::list_too_large(max_bytes)),
            Error::Corrupt(..) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a stored document cannot be read");
                Self::Internal(messages::CORRUPT)
            }
            Error::Unavailable(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the store does not answer");
                Self::Unavailable(messages::STORE_AWAY)
            }
        }
    }
}

impl From<whisker_dispatch::Error> for Rejection {
    fn from(error: whisker_dispatch::Error) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "an activation could not be handed over");
        Self::Unavailable(messages::UNAVAILABLE)
    }
}
