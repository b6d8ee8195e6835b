//! A web action's address: `/web/NAMESPACE/PACKAGE/ACTION[.EXTENSION][/REST]`.
//!
//! Segments are split before they are decoded, as everywhere in the API. What
//! is no such address is none of ours: it gets the answer of any other path
//! below `/api/v1`, which begins with asking for credentials.

use percent_encoding::percent_decode_str;
use whisker_entity::{EntityName, EntityPath, QualifiedName};

/// Where a request for a web action leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The action. `_` is no namespace here: nobody's credentials are needed,
    /// so nobody's namespace is meant.
    pub action: QualifiedName,
    /// How its result becomes a response.
    pub extension: Extension,
    /// What follows the action: empty, or text that begins with a slash, as
    /// it was sent.
    pub rest: String,
}

/// What becomes of a result. Without an extension it is `.http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// The result says status, headers and body.
    Http,
    /// The result is the body.
    Json,
    /// A member of the result is the body.
    Html,
    /// As `Html`, a picture.
    Svg,
    /// As `Html`, in plain text, whatever its type.
    Text,
}

impl Extension {
    const ALL: [(&'static str, Extension); 5] = [
        (".http", Extension::Http),
        (".json", Extension::Json),
        (".html", Extension::Html),
        (".svg", Extension::Svg),
        (".text", Extension::Text),
    ];

    /// Cuts an extension from a name. One that is not known is part of the name.
    fn split(name: &str) -> (&str, Extension) {
        let known = |(text, extension)| name.strip_suffix(text).map(|base| (base, extension));
        Self::ALL.into_iter().find_map(known).unwrap_or((name, Extension::Http))
    }
}

impl Target {
    /// Reads a path below `/api/v1`.
    pub fn parse(below: &str) -> Option<Self> {
        let mut segments = below.strip_prefix("/web/")?.splitn(3, '/');
        let namespace = name(segments.next()?)?;
        let package = name(segments.next()?)?;
        let tail = segments.next()?;
        let (action, rest) = tail.split_at(tail.find('/').unwrap_or(tail.len()));
        let action = decode(action)?;
        let (action, extension) = Extension::split(&action);
        let package = (package.as_str() != "default").then_some(package);
        Some(Self {
            action: QualifiedName::new(EntityPath { namespace, package }, EntityName::new(action).ok()?),
            extension,
            rest: rest.to_owned(),
        })
    }
}

fn name(segment: &str) -> Option<EntityName> {
    EntityName::new(&decode(segment)?).ok()
}

fn decode(segment: &str) -> Option<std::borrow::Cow<'_, str>> {
    percent_decode_str(segment).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_cut_and_the_rest_is_kept_as_sent() {
        use Extension::{Html, Http, Json, Svg, Text};
        for (path, action, extension, rest) in [
            ("/web/ns/default/say", "ns/say", Http, ""),
            ("/web/ns/pkg/say.http", "ns/pkg/say", Http, ""),
            ("/web/ns/default/say.json/a/b", "ns/say", Json, "/a/b"),
            ("/web/ns/default/say.html", "ns/say", Html, ""),
            ("/web/ns/default/say.svg/", "ns/say", Svg, "/"),
            ("/web/ns/default/say.text//x", "ns/say", Text, "//x"),
            ("/web/ns/default/say.http/a%20b/c%2Fd.json", "ns/say", Http, "/a%20b/c%2Fd.json"),
            ("/web/ns/default/with%20space", "ns/with space", Http, ""),
            ("/web/ns/default/say.xml", "ns/say.xml", Http, ""),
            ("/web/ns/default/say.JSON", "ns/say.JSON", Http, ""),
            ("/web/ns/default/say.json.http", "ns/say.json", Http, ""),
            ("/web/ns/default/say.", "ns/say.", Http, ""),
            ("/web/_/default/say", "_/say", Http, ""),
        ] {
            let target = Target::parse(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(
                (target.action.to_string().as_str(), target.extension, target.rest.as_str()),
                (action, extension, rest),
                "{path}"
            );
        }
    }

    #[test]
    fn what_names_no_action_is_no_target() {
        for path in [
            "/web",
            "/web/",
            "/web/ns",
            "/web/ns/default",
            "/web/ns/default/",
            "/web/ns//say",
            "/web//default/say",
            "/web/ns/default/.http",
            "/web/ns/default/-say",
            "/web/ns/default/a%2Fb",
            "/web/ns/default/%FF",
            "/web/ns/default/a%20.json",
            "/webs/ns/default/say",
            "/namespaces/_/actions",
        ] {
            assert_eq!(Target::parse(path), None, "{path}");
        }
    }
}
