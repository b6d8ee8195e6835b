//! Query parameters.

use percent_encoding::percent_decode_str;
use whisker_entity::Millis;
use whisker_store::Page;

use crate::{config::Limits, rejection::Rejection};

/// A request's query: what is not asked for is ignored.
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Of the text behind `?`.
    pub fn new(text: Option<&'a str>) -> Self {
        Self(text.unwrap_or(""))
    }

    /// The first value of a name, decoded.
    pub fn get(&self, name: &str) -> Option<String> {
        let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        self.0
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find_map(|(key, value)| (decode(key) == name).then(|| decode(value)))
    }

    /// A boolean, in any of the spellings that OpenWhisk takes; empty means the default.
    pub fn boolean(&self, name: &'static str, default: bool) -> Result<bool, Rejection> {
        let Some(text) = self.get(name) else { return Ok(default) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            "" => Ok(default),
            _ => Err(Rejection::Query { name, detail: format!("'{text}' is not a valid Boolean value") }),
        }
    }

    /// `skip` and `limit` of a list.
    pub fn page(&self, collection: &str, limits: &Limits) -> Result<Page, Rejection> {
        let integer = |name: &'static str| match self.get(name) {
            None => Ok(None),
            // OpenWhisk's integers have 32 bits: a larger number is none.
            Some(text) => text.parse::<i32>().map(Some).map_err(|_| Rejection::Query {
                name,
                detail: format!("The value '{text}' is not an integer for {collection}."),
            }),
        };
        let skip = match integer("skip")? {
            None => 0,
            Some(value) => u64::try_from(value).map_err(|_| Rejection::Query {
                name: "skip",
                detail: format!("The value '{value}' is not greater than or equal to 0 for {collection}."),
            })?,
        };
        let limit = match integer("limit")? {
            None => limits.list_default,
            Some(0) => limits.list_max,
            Some(value) => {
                u64::try_from(value).ok().filter(|&v| v <= limits.list_max).ok_or_else(|| Rejection::Query {
                    name: "limit",
                    detail: format!(
                        "The value '{value}' is not in the range of 0 to {} for {collection}.",
                        limits.list_max
                    ),
                })?
            }
        };
        Ok(Page { skip, limit })
    }

    /// A time in ms (OpenWhisk's text says seconds); one before the epoch is the epoch.
    pub fn time(&self, name: &'static str) -> Result<Option<Millis>, Rejection> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse::<i64>() {
            Ok(millis) => Ok(Some(u64::try_from(millis).unwrap_or(0))),
            Err(_) => Err(Rejection::Query {
                name,
                detail: format!("Parameter is not a valid value for epoch seconds: {text}"),
            }),
        }
    }
}

/// What a list that is only counted answers: `{"actions": 12}`.
pub fn counted(collection: &str, total: u64, page: Page) -> serde_json::Value {
    let mut object = serde_json::Map::new();
    object.insert(collection.into(), total.saturating_sub(page.skip).into());
    object.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_have_several_spellings() {
        for (text, value) in
            [("a=TRUE", Ok(true)), ("a=off", Ok(false)), ("a=", Ok(false)), ("b=1", Ok(false)), ("a=x", Err(()))]
        {
            assert_eq!(Query::new(Some(text)).boolean("a", false).map_err(|_| ()), value, "{text}");
        }
    }

    #[test]
    fn pages_are_bounded() {
        let limits = Limits::default();
        let page = |text| Query::new(Some(text)).page("actions", &limits).map(|p| (p.skip, p.limit));
        assert_eq!(page(""), Ok((0, 30)));
        assert_eq!(page("limit=0&skip=7"), Ok((7, 200)));
        for bad in ["limit=201", "limit=-1", "limit=x", "limit=1.5", "limit=", "skip=-1"] {
            assert!(page(bad).is_err(), "{bad}");
        }
    }
}
