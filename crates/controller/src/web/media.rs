//! Media types: which are text, which carry bytes.
//!
//! JSON has no bytes, so a web action's body is a string that either is the
//! text or holds base64. The media type decides, in requests and in responses.
//! The line is drawn where OpenWhisk's HTTP library draws it, since functions
//! were written for it: `image/svg+xml` is bytes, `application/xml` is text, a
//! type that it does not know is bytes unless a charset is declared. Save that
//! here all of `text/*` is text.

/// A media type with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// `type/subtype`, in lower case.
    essence: String,
    /// The charset that was declared.
    charset: Option<String>,
    /// All other parameters, as they were written, each behind `; `.
    parameters: String,
}

/// What a body of some type holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Text, whose charset is told.
    Text,
    /// Text that is always UTF-8, without saying so.
    Utf8,
    /// Bytes.
    Bytes,
}

/// Types below `application` that are text.
const TEXT: [&str; 12] = [
    "atom+xml",
    "base64",
    "javascript",
    "problem+xml",
    "rss+xml",
    "soap+xml",
    "vnd.google-earth.kml+xml",
    "x-latex",
    "x-vrml",
    "xhtml+xml",
    "xml",
    "xml-dtd",
];
/// Those of one charset.
const UTF8: [&str; 6] =
    ["json", "json-patch+json", "merge-patch+json", "problem+json", "vnd.api+json", "x-www-form-urlencoded"];
/// Those that are bytes even with a charset.
const BYTES: [&str; 10] = [
    "cbor",
    "java-archive",
    "msword",
    "octet-stream",
    "pdf",
    "postscript",
    "x-7z-compressed",
    "x-gzip",
    "x-tar",
    "zip",
];
/// Whole families of them.
const BYTES_PREFIXES: [&str; 3] = ["vnd.ms-", "vnd.oasis.", "vnd.openxmlformats-"];

impl Media {
    /// A type without parameters, known to be well formed.
    pub fn known(essence: &'static str) -> Self {
        Self { essence: essence.into(), charset: None, parameters: String::new() }
    }

    /// Reads `type/subtype[; name=value]…`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let end = rest.find(';').unwrap_or(rest.len());
        let essence = rest[..end].trim().to_ascii_lowercase();
        let (main, sub) = essence.split_once('/')?;
        if !is_token(main) || !is_token(sub) || main == "*" || sub == "*" {
            return None;
        }
        let mut media = Self { essence, charset: None, parameters: String::new() };
        rest = &rest[end..];
        while let Some(parameter) = rest.strip_prefix(';') {
            rest = parameter.trim_start();
            if rest.is_empty() {
                break;
            }
            let (name, value) = rest.split_once('=')?;
            let (value, after) = value.split_at(value_end(value)?);
            if !is_token(name) {
                return None;
            }
            if name.eq_ignore_ascii_case("charset") {
                media.charset = Some(value.trim_matches('"').to_owned());
            } else {
                media.parameters.push_str("; ");
                media.parameters.push_str(name);
                media.parameters.push('=');
                media.parameters.push_str(value);
            }
            rest = after.trim_start();
        }
        rest.is_empty().then_some(media)
    }

    /// `type/subtype`, in lower case.
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// JSON, or a language made of it.
    pub fn is_json(&self) -> bool {
        self.essence == "application/json" || self.essence.ends_with("+json")
    }

    /// What a body of this type holds.
    pub fn form(&self) -> Form {
        let Some((main, sub)) = self.essence.split_once('/') else { return Form::Bytes };
        match main {
            "text" => Form::Text,
            "application" if UTF8.contains(&sub) => Form::Utf8,
            "application" if TEXT.contains(&sub) => Form::Text,
            "application" if BYTES.contains(&sub) || BYTES_PREFIXES.iter().any(|p| sub.starts_with(p)) => Form::Bytes,
            "application" if self.charset.is_some() => Form::Text,
            _ => Form::Bytes,
        }
    }

    /// The type as a response declares it, given what was made of its body:
    /// whatever charset was asked for, text goes out as UTF-8.
    pub fn declared(&self, form: Form) -> String {
        let charset = if form == Form::Text { "; charset=UTF-8" } else { "" };
        format!("{}{}{charset}", self.essence, self.parameters)
    }

    /// The type of a request's body as functions are told it: with the names
    /// of types and charsets spelled in one way.
    pub fn told(&self) -> String {
        let charset = match &self.charset {
            Some(_) if self.form() == Form::Utf8 => String::new(),
            Some(name) if name.eq_ignore_ascii_case("utf-8") => "; charset=UTF-8".into(),
            Some(name) => format!("; charset={name}"),
            None => String::new(),
        };
        format!("{}{}{charset}", self.essence, self.parameters)
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b))
}

/// Where a parameter's value ends: a token, or a quoted string.
fn value_end(text: &str) -> Option<usize> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        return is_token(&text[..end]).then_some(end);
    };
    let mut escaped = false;
    for (i, byte) in quoted.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(i + 2),
            b' '..=b'~' | b'\t' => {}
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_text_or_bytes_as_in_openwhisk() {
        for (text, form) in [
            ("text/plain", Form::Text),
            ("TEXT/Css", Form::Text),
            ("text/vnd.new", Form::Text),
            ("application/xml", Form::Text),
            ("application/javascript", Form::Text),
            ("application/json; charset=utf-8", Form::Utf8),
            ("application/vnd.api+json", Form::Utf8),
            ("application/x-www-form-urlencoded", Form::Utf8),
            ("application/vnd.x+json", Form::Bytes),
            ("application/x-ndjson", Form::Bytes),
            ("application/x-ndjson; charset=utf-8", Form::Text),
            ("application/pdf; charset=utf-8", Form::Bytes),
            ("application/vnd.ms-excel; charset=utf-8", Form::Bytes),
            ("application/octet-stream", Form::Bytes),
            ("image/svg+xml; charset=utf-8", Form::Bytes),
            ("multipart/form-data; boundary=b", Form::Bytes),
        ] {
            assert_eq!(Media::parse(text).map(|media| media.form()), Some(form), "{text}");
        }
    }

    #[test]
    fn types_are_spelled_in_one_way() {
        for (text, told, declared) in [
            ("Text/Plain;charset=utf-8", "text/plain; charset=UTF-8", "text/plain; charset=UTF-8"),
            ("text/plain", "text/plain", "text/plain; charset=UTF-8"),
            ("text/plain; charset=\"koi8-r\"", "text/plain; charset=koi8-r", "text/plain; charset=UTF-8"),
            ("application/json; charset=utf-8", "application/json", "application/json"),
            (
                "multipart/form-data; boundary=\"a b;\\\"c\"",
                "multipart/form-data; boundary=\"a b;\\\"c\"",
                "multipart/form-data; boundary=\"a b;\\\"c\"",
            ),
            (
                "text/html; a=1 ; charset=utf-8; b=2;",
                "text/html; a=1; b=2; charset=UTF-8",
                "text/html; a=1; b=2; charset=UTF-8",
            ),
        ] {
            let media = Media::parse(text).expect(text);
            assert_eq!((media.told().as_str(), media.declared(media.form()).as_str()), (told, declared), "{text}");
        }
    }

    #[test]
    fn what_is_no_type_is_not_read() {
        for text in [
            "",
            "nonsense",
            "5",
            "a/",
            "/b",
            "a/b/c",
            "*/*",
            "a b/c",
            "a/b; c",
            "a/b; c=\"d",
            "a/b; =d",
            "a/b; c=d e=f",
            "a/b\r\nx: y",
            "a/b; c=\"\n\"",
        ] {
            assert_eq!(Media::parse(text), None, "{text:?}");
        }
    }
}
