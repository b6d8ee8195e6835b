//! Entities as they were read: a document of the kind that was asked for, and
//! the revision that a write must be based on.
//!
//! Names are unique across kinds, so "there is one, but of another kind" is an
//! answer of its own (409), which every reader shares by asking here.

use std::{marker::PhantomData, ops::Deref, sync::Arc};

use whisker_api::messages;
use whisker_entity::{Action, Package, QualifiedName, Rule, Trigger};
use whisker_store::{Document, Error, Revision, Stored};

use crate::{controller::Controller, rejection::Rejection};

/// A kind of document.
pub trait Kind: Sized {
    /// The document, if it is of this kind.
    fn of(document: &Document) -> Option<&Self>;
}

macro_rules! kind {
    ($type:ident) => {
        impl Kind for $type {
            fn of(document: &Document) -> Option<&Self> {
                if let Document::$type(entity) = document { Some(entity) } else { None }
            }
        }
    };
}

kind!(Action);
kind!(Package);
kind!(Trigger);
kind!(Rule);

/// An entity as it was read, shared with the cache.
pub struct Found<T> {
    stored: Arc<Stored>,
    kind: PhantomData<T>,
}

impl<T> Clone for Found<T> {
    fn clone(&self) -> Self {
        Self { stored: self.stored.clone(), kind: PhantomData }
    }
}

impl<T: Kind> Found<T> {
    fn new(stored: Arc<Stored>) -> Result<Self, Rejection> {
        match T::of(&stored.document) {
            Some(_) => Ok(Self { stored, kind: PhantomData }),
            None => Err(Rejection::Conflict(messages::OTHER_COLLECTION)),
        }
    }

    /// The state that was read.
    pub fn revision(&self) -> &Revision {
        &self.stored.revision
    }
}

impl<T: Kind> Deref for Found<T> {
    type Target = T;

    fn deref(&self) -> &T {
        T::of(&self.stored.document).expect("the kind was checked when this was made")
    }
}

/// Reads an entity.
pub async fn find<T: Kind>(controller: &Controller, name: &QualifiedName) -> Result<Found<T>, Rejection> {
    Found::new(controller.documents.get(name).await?)
}

/// Reads an entity that may not exist.
pub async fn find_if_any<T: Kind>(
    controller: &Controller,
    name: &QualifiedName,
) -> Result<Option<Found<T>>, Rejection> {
    match controller.documents.get(name).await {
        Ok(stored) => Found::new(stored).map(Some),
        Err(Error::Missing) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
