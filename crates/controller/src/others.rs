//! A controller among others: what it hears of them, and how it finds out
//! whether an invoker can run anything.
//!
//! An invoker that only pings may still be unable to start a container. So one
//! that is new, or failed, is sent OpenWhisk's test activation, and is used
//! once that succeeded (`InvokerSupervision.scala`).

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use whisker_api::Payload;
use whisker_bus::{ActivationMessage, CacheInvalidation, News, NewsSink};
use whisker_entity::{
    Action, ActionLimits, AuthKey, EntityName, EntityPath, Exec, ExecCode, Identity, NamespaceLimits, Parameters,
    QualifiedName, TransactionId, Version,
};
use whisker_store::{Change, Document, Error};

use crate::{controller::Controller, environment};

/// The namespace of the platform's own actions.
const SYSTEM: &str = "whisk.system";
/// Time between two looks at invokers that are waited for.
const LOOK: Duration = Duration::from_millis(50);
/// What the test action runs.
const TEST_CODE: &str = "function main(params) { return params; }";

/// Why invokers could not be tested.
#[derive(Debug, thiserror::Error)]
pub enum CannotTest {
    /// There is no Node.js among the kinds, or this controller's name cannot be
    /// a part of an action's.
    #[error("there can be no test action of this controller: {0}")]
    Action(String),
    /// The store did not take it.
    #[error("the store does not take the test action")]
    Store(#[from] Error),
}

/// Test activations of one controller.
pub struct Tests {
    action: QualifiedName,
    who: Arc<Identity>,
}

impl Controller {
    /// Writes the action that this controller tests invokers with.
    pub async fn prepare_tests(&self) -> Result<Tests, CannotTest> {
        let cannot = |error: &dyn std::fmt::Display| CannotTest::Action(error.to_string());
        let system = EntityName::new(SYSTEM).map_err(|error| cannot(&error))?;
        let name = format!("invokerHealthTestAction{}", self.config.id.0);
        let name = EntityName::new(&name).map_err(|error| cannot(&error))?;
        let runtime = self.config.manifest.resolve("nodejs:default").map_err(|error| cannot(&error))?;
        let memory = u32::try_from(self.config.limits.actions.memory_mb.min).unwrap_or(u32::MAX);
        let action = Action {
            namespace: EntityPath::root(system.clone()),
            name,
            exec: Exec::Code {
                kind: runtime.kind.clone(),
                code: ExecCode::Inline(TEST_CODE.into()),
                main: None,
                binary: false,
            },
            parameters: Parameters::default(),
            limits: ActionLimits { memory, ..ActionLimits::default() },
            version: Version::FIRST,
            publish: false,
            annotations: Parameters::default(),
            updated: self.documents.stamp(environment::now()),
        };
        let name = action.qualified_name();
        let found = match self.documents.get(&name).await {
            Ok(found) => Some(found.revision.clone()),
            Err(Error::Missing) => None,
            Err(error) => return Err(error.into()),
        };
        match self.documents.put(&Document::Action(action), found.as_ref()).await {
            Ok(_) => {}
            // Somebody else has just written it.
            Err(Error::Stale) => {}
            Err(error) => return Err(error.into()),
        }
        // A key that opens nothing, as OpenWhisk makes one too: nobody is asked for it.
        let key = format!(
            "{}:{}{}",
            environment::transaction_id(),
            environment::transaction_id(),
            environment::transaction_id()
        );
        let who = Identity {
            subject: SYSTEM.into(),
            namespace: system,
            key: AuthKey::parse(&key).map_err(|error| cannot(&error))?,
            limits: NamespaceLimits { store_activations: Some(false), ..NamespaceLimits::default() },
        };
        Ok(Tests { action: name, who: Arc::new(who) })
    }

    /// Watches over the invokers and lives among the other controllers, until
    /// cancelled.
    pub async fn live_among_others(&self, tests: Tests, cancel: CancellationToken) {
        self.dispatch.run(|| self.test(&tests), cancel).await;
    }

    /// Waits until an invoker takes work.
    pub async fn await_invokers(&self) {
        let mut look = tokio::time::interval(LOOK);
        while !self.dispatch.invokers().is_none_or(|all| all.iter().any(|invoker| invoker.health.is_usable())) {
            look.tick().await;
        }
    }

    /// Waits until it is found that another controller, which was there before,
    /// has this one's name.
    pub async fn displaced(&self) {
        self.dispatch.displaced().await;
    }

    fn test(&self, tests: &Tests) -> Arc<ActivationMessage> {
        let now = environment::now();
        Arc::new(ActivationMessage {
            transaction: TransactionId::system("invokerHealth"),
            began: now,
            action: tests.action.clone(),
            version: Version::FIRST,
            binding: None,
            // It is read anew each time, so that the way to the store is tested too.
            revision: None,
            user: tests.who.clone(),
            activation: environment::activation_id(now),
            controller: self.config.id.clone(),
            blocking: false,
            content: Payload::default().to_text(),
            init_args: Vec::new(),
            locked_args: Default::default(),
            cause: None,
            trace_context: None,
            of_letter: false,
        })
    }

    fn hear_invalidation(&self, invalidation: &CacheInvalidation) {
        if !self.dispatch.hear_changed(invalidation) {
            return;
        }
        match invalidation.key.main_id.parse::<QualifiedName>() {
            Ok(name) => self.documents.hear(&Change::Document(name)),
            // A namespace, or the first half of a key: somebody's rights or limits.
            Err(_) => self.authenticator.forget(),
        }
        self.dispatch.forgot(invalidation);
    }
}

impl NewsSink for Controller {
    fn heard(&self, news: News) {
        match news {
            News::Invoker(ping) => self.dispatch.hear_invoker(&ping),
            News::Controller(ping) => self.dispatch.hear_controller(&ping),
            News::Changed(invalidation) => self.hear_invalidation(&invalidation),
        }
    }
}
