//! What the platform says of itself, to anyone.

use http::StatusCode;
use serde_json::{Map, Value, json};
use whisker_entity::{Exec, MB, Runtime};

use crate::{
    config::Config,
    controller::Controller,
    reply::{Cors, Reply},
};

/// What a controller cannot know by itself of the process it is in.
pub trait Platform: Send + Sync + 'static {
    /// The invokers of this process, and whether they take work. Asked where
    /// there are no others to choose from.
    fn invokers(&self) -> Vec<(String, bool)>;
    /// All metrics, as Prometheus reads them.
    fn metrics(&self) -> String;
    /// Whether a shutdown has begun.
    fn draining(&self) -> bool;
    /// Why nothing new should be begun, if so: what would come of it could not
    /// be kept.
    fn trouble(&self) -> Option<&'static str> {
        None
    }
    /// Whether code could ever run here: an archive that would not be unpacked
    /// is refused when it is uploaded. Says why not.
    fn check_code(&self, exec: &Exec) -> Result<(), String>;
}

/// `GET /`: kinds and limits, which `wsk` and `wskdeploy` read.
pub fn deployment(config: &Config) -> Reply {
    let limits = &config.limits;
    let actions = &limits.actions;
    let mut families = Map::new();
    for (family, kinds) in config.manifest.families() {
        families.insert(family.to_owned(), kinds.iter().map(runtime).collect());
    }
    let description = json!({
        "description": "OpenWhisk",
        "support": {"github": "https://github.com/apache/openwhisk/issues", "slack": "http://slack.openwhisk.org"},
        "api_paths": ["/api/v1"],
        "limits": {
            "actions_per_minute": limits.invocations_per_minute,
            "triggers_per_minute": limits.fires_per_minute,
            "concurrent_actions": limits.concurrent_invocations,
            "sequence_length": limits.sequence_length,
            "default_min_action_duration": actions.timeout_ms.min,
            "default_max_action_duration": actions.timeout_ms.max,
            "default_min_action_memory": actions.memory_mb.min * MB,
            "default_max_action_memory": actions.memory_mb.max * MB,
            "default_min_action_logs": actions.logs_mb.min * MB,
            "default_max_action_logs": actions.logs_mb.max * MB,
            "min_action_duration": actions.timeout_ms.min,
            "max_action_duration": actions.timeout_ms.max,
            "min_action_memory": actions.memory_mb.min * MB,
            "max_action_memory": actions.memory_mb.max * MB,
            "min_action_logs": actions.logs_mb.min * MB,
            "max_action_logs": actions.logs_mb.max * MB,
        },
        "runtimes": families,
    });
    Reply::json(StatusCode::OK, &description).cors(Cors::Bare)
}

fn runtime(runtime: &Runtime) -> Value {
    let image = &runtime.image;
    json!({
        "kind": runtime.kind,
        "image": format!("{}/{}:{}", image.prefix, image.name, image.tag),
        "deprecated": runtime.deprecated,
        "default": runtime.default,
        "attached": runtime.attached.is_some(),
        "requireMain": runtime.require_main,
    })
}

/// `GET /api/v1`: versions.
pub fn api(config: &Config) -> Reply {
    let description = json!({
        "description": "OpenWhisk API",
        "api_version": "1.0.0",
        "api_version_path": "v1",
        "build": config.build_date,
        "buildno": config.build_number,
        "swagger_paths": {"ui": "/docs", "api-docs": "/api-docs"},
    });
    Reply::json(StatusCode::OK, &description)
}

/// `GET /ready`: whether work can be taken, and what is missing if not.
pub async fn ready(controller: &Controller) -> Reply {
    let mut missing = Vec::new();
    if controller.platform.draining() {
        missing.push("the server is shutting down");
    }
    if !states(controller).iter().any(|(_, state)| *state == UP) {
        missing.push("no invoker takes work");
    }
    if !controller.dispatch.hears_itself() {
        missing.push("the bus does not answer");
    }
    missing.extend(controller.platform.trouble());
    if controller.documents.probe().await.is_err() {
        missing.push("the store does not answer");
    }
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Reply::json(status, &json!({"ready": missing.is_empty(), "missing": missing})).cors(Cors::Bare)
}

/// `GET /metrics`.
pub fn metrics(controller: &Controller) -> Reply {
    Reply::text(StatusCode::OK, controller.platform.metrics()).cors(Cors::Bare)
}

/// OpenWhisk's word for an invoker that takes work.
const UP: &str = "up";

/// The invokers that ever reported, and how they are.
fn states(controller: &Controller) -> Vec<(String, &'static str)> {
    match controller.dispatch.invokers() {
        Some(members) => members.iter().map(|m| (m.invoker.to_string(), m.health.as_str())).collect(),
        None => {
            let state = |(name, healthy)| (name, if healthy { UP } else { "down" });
            controller.platform.invokers().into_iter().map(state).collect()
        }
    }
}

/// `GET /invokers`: their states.
pub fn invokers(controller: &Controller) -> Reply {
    let states: Map<String, Value> = states(controller).into_iter().map(|(name, state)| (name, state.into())).collect();
    Reply::json(StatusCode::OK, &states).cors(Cors::Top)
}

/// `GET /invokers/healthy/count`.
pub fn healthy_invokers(controller: &Controller) -> Reply {
    let healthy = states(controller).iter().filter(|(_, state)| *state == UP).count();
    Reply::json(StatusCode::OK, &healthy).cors(Cors::Top)
}

/// `GET /invokers/ready`: 500 unless one takes work.
pub fn invokers_ready(controller: &Controller) -> Reply {
    let invokers = states(controller);
    let healthy = invokers.iter().filter(|(_, state)| *state == UP).count();
    let text = format!("{healthy}/{}", invokers.len());
    if healthy > 0 {
        Reply::json(StatusCode::OK, &json!({"healthy": text})).cors(Cors::Top)
    } else {
        Reply::json(StatusCode::INTERNAL_SERVER_ERROR, &json!({"unhealthy": text})).cors(Cors::Top)
    }
}

/// `GET /activation/count`: how many are under way.
pub fn in_flight(controller: &Controller) -> Reply {
    Reply::json(StatusCode::OK, &controller.dispatch.in_flight_total()).cors(Cors::Top)
}
