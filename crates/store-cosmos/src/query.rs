//! Queries across partitions, merged here.
//!
//! The service answers a query with an order or a sum for one range of
//! partition keys at a time, in pages. So each range is asked by itself, and
//! what they give is merged. It orders by one path alone, since containers
//! that OpenWhisk made have no index for more: what is equal in that comes in
//! any order, and is put into the order of ids here.

use std::{cmp::Ordering, collections::VecDeque, sync::Arc};

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use whisker_documents::shape;
use whisker_store::Page;

use crate::{
    container::{Container, unescaped},
    error::Failure,
};

/// Items of one page, at most.
const PAGE: u64 = 500;
/// How often a query begins again when a range is split under it.
const TRIES: usize = 3;

/// What OpenWhisk's queries say of documents: those that count.
pub(crate) const NOT_DELETED: &str = "(NOT IS_DEFINED(r._deleted) OR r._deleted = false)";

/// A query without its order.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    text: String,
    parameters: Vec<Value>,
}

/// The order of what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// By a date, and then by id, both descending.
    Newest(&'static str),
    /// By a date, and then by id.
    Oldest(&'static str),
    /// By id, as Cosmos DB knows it.
    ById,
    /// Cosmos DB sets none; by id when all is there. For what is little.
    Little,
}

/// Something found.
#[derive(Debug)]
pub(crate) struct Row {
    /// As OpenWhisk knows it.
    pub id: String,
    /// The date that it is ordered by, in ms.
    pub at: u64,
    pub text: Box<RawValue>,
}

/// A page of the answer of one range.
#[derive(Deserialize)]
struct Documents<T> {
    #[serde(rename = "Documents")]
    documents: Vec<T>,
}

impl Query {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), parameters: Vec::new() }
    }

    /// With a value for `@name`.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.parameters.push(json!({"name": format!("@{name}"), "value": value}));
        self
    }

    fn body(&self, order: Option<Order>) -> Bytes {
        let order = match order {
            None | Some(Order::Little) => String::new(),
            Some(Order::Newest(date)) => format!(" ORDER BY r.{date} DESC"),
            Some(Order::Oldest(date)) => format!(" ORDER BY r.{date}"),
            Some(Order::ById) => " ORDER BY r.id".to_owned(),
        };
        json!({"query": format!("{}{order}", self.text), "parameters": self.parameters}).to_string().into()
    }
}

impl Order {
    fn row(self, text: Box<RawValue>) -> Result<Row, Failure> {
        #[derive(Deserialize)]
        struct Head {
            id: String,
            #[serde(default)]
            start: Value,
            #[serde(default)]
            updated: Value,
        }
        let head: Head = serde_json::from_str(text.get()).map_err(Failure::Nonsense)?;
        let at = match self {
            Order::Newest("start") | Order::Oldest("start") => shape::millis(&head.start),
            Order::Newest(_) | Order::Oldest(_) => shape::millis(&head.updated),
            Order::ById | Order::Little => None,
        };
        // The id of Cosmos DB's order, until the row is given away.
        Ok(Row { id: head.id, at: at.unwrap_or(0), text })
    }

    /// As far as Cosmos DB orders.
    fn compare(self, a: &Row, b: &Row) -> Ordering {
        match self {
            Order::Newest(_) => b.at.cmp(&a.at),
            Order::Oldest(_) => a.at.cmp(&b.at),
            Order::ById => a.id.cmp(&b.id),
            Order::Little => Ordering::Equal,
        }
    }

    /// Of those that are equal in that.
    fn settle(self, rows: &mut [Row]) {
        match self {
            Order::Newest(_) => rows.sort_by(|a, b| b.id.cmp(&a.id)),
            // Of all namespaces, so by what follows theirs.
            Order::Oldest(_) => rows.sort_by(|a, b| own(&a.id).cmp(own(&b.id))),
            Order::ById | Order::Little => rows.sort_by(|a, b| a.id.cmp(&b.id)),
        }
    }
}

/// An activation's own part of its document's id.
fn own(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

impl Container {
    /// A part of what a query finds, in this order; it ends after `max_bytes`
    /// too, with the row that goes beyond. Whether there is more.
    pub async fn select(
        &self,
        query: &Query,
        order: Order,
        page: Page,
        max_bytes: u64,
    ) -> Result<(Vec<Row>, bool), Failure> {
        if page.limit == 0 {
            return Ok((Vec::new(), false));
        }
        for _ in 1..TRIES {
            match self.select_once(query, order, page, max_bytes).await {
                Err(failure) if failure.status() == Some(StatusCode::GONE) => self.forget_ranges(),
                other => return other,
            }
        }
        self.select_once(query, order, page, max_bytes).await
    }

    async fn select_once(
        &self,
        query: &Query,
        order: Order,
        page: Page,
        max_bytes: u64,
    ) -> Result<(Vec<Row>, bool), Failure> {
        let items = page.skip.saturating_add(page.limit).saturating_add(1).min(PAGE);
        let mut merged = Merged::new(self, query, order, items).await?;
        let (mut skipped, mut found, mut bytes) = (0, Vec::new(), 0_u64);
        while let Some(row) = merged.next().await? {
            if skipped < page.skip {
                skipped += 1;
                continue;
            }
            if found.len() as u64 >= page.limit || bytes >= max_bytes {
                return Ok((found, true));
            }
            bytes = bytes.saturating_add(row.text.get().len() as u64);
            found.push(row);
        }
        Ok((found, false))
    }

    /// How many a query finds that selects a count.
    pub async fn count(&self, query: &Query) -> Result<u64, Failure> {
        for _ in 1..TRIES {
            match self.count_once(query).await {
                Err(failure) if failure.status() == Some(StatusCode::GONE) => self.forget_ranges(),
                other => return other,
            }
        }
        self.count_once(query).await
    }

    async fn count_once(&self, query: &Query) -> Result<u64, Failure> {
        let (body, mut sum) = (query.body(None), 0);
        for range in self.ranges().await?.iter() {
            let mut continuation = None;
            loop {
                let (page, next) = self.page(range, body.clone(), PAGE, continuation.as_deref()).await?;
                let counts: Documents<u64> = serde_json::from_slice(&page).map_err(Failure::Nonsense)?;
                // A page counts what it has looked at.
                sum += counts.documents.iter().sum::<u64>();
                match next {
                    Some(next) => continuation = Some(next),
                    None => break,
                }
            }
        }
        Ok(sum)
    }
}

/// What one range has still to give.
struct Source {
    range: usize,
    rows: VecDeque<Row>,
    /// Where it goes on: `None` at the end.
    next: Option<Option<String>>,
}

/// All ranges as one.
struct Merged<'a> {
    container: &'a Container,
    ranges: Arc<[String]>,
    body: Bytes,
    order: Order,
    items: u64,
    sources: Vec<Source>,
    /// Rows of equal rank, in order.
    settled: VecDeque<Row>,
    /// The first of those that follow them.
    ahead: Option<Row>,
}

impl<'a> Merged<'a> {
    async fn new(container: &'a Container, query: &Query, order: Order, items: u64) -> Result<Self, Failure> {
        let ranges = container.ranges().await?;
        let sources = (0..ranges.len()).map(|range| Source { range, rows: VecDeque::new(), next: Some(None) });
        Ok(Self {
            container,
            body: query.body(Some(order)),
            order,
            items,
            sources: sources.collect(),
            ranges,
            settled: VecDeque::new(),
            ahead: None,
        })
    }

    async fn next(&mut self) -> Result<Option<Row>, Failure> {
        if self.settled.is_empty() {
            let Some(first) = (match self.ahead.take() {
                Some(row) => Some(row),
                None => self.first().await?,
            }) else {
                return Ok(None);
            };
            let mut equal = vec![first];
            while let Some(row) = self.first().await? {
                if self.order.compare(&equal[0], &row) != Ordering::Equal {
                    self.ahead = Some(row);
                    break;
                }
                equal.push(row);
            }
            for row in &mut equal {
                row.id = unescaped(&row.id);
            }
            self.order.settle(&mut equal);
            self.settled = equal.into();
        }
        Ok(self.settled.pop_front())
    }

    /// The first that any range has.
    async fn first(&mut self) -> Result<Option<Row>, Failure> {
        for source in &mut self.sources {
            // An empty page may be followed by others.
            while source.rows.is_empty()
                && let Some(continuation) = source.next.take()
            {
                let range = &self.ranges[source.range];
                let (page, next) =
                    self.container.page(range, self.body.clone(), self.items, continuation.as_deref()).await?;
                let page: Documents<Box<RawValue>> = serde_json::from_slice(&page).map_err(Failure::Nonsense)?;
                for text in page.documents {
                    source.rows.push_back(self.order.row(text)?);
                }
                source.next = next.map(Some);
            }
        }
        let order = self.order;
        let heads = self.sources.iter_mut().filter(|source| !source.rows.is_empty());
        let best = heads.min_by(|a, b| order.compare(&a.rows[0], &b.rows[0]));
        Ok(best.and_then(|source| source.rows.pop_front()))
    }
}
