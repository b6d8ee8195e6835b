//! What the process knows and the controller asks for.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use metrics_exporter_prometheus::PrometheusHandle;
use whisker_artifacts::archive::{self, Refused};
use whisker_controller::Platform;
use whisker_entity::{Exec, ExecCode};
use whisker_invoker::Pressure;

/// The state of this process.
pub struct Process {
    metrics: PrometheusHandle,
    draining: AtomicBool,
    invoker_up: AtomicBool,
    pressure: Option<Pressure>,
}

impl Process {
    /// A process whose invoker does not take work yet, if it has one.
    pub fn new(metrics: PrometheusHandle, pressure: Option<Pressure>) -> Arc<Self> {
        let (draining, invoker_up) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { metrics, draining, invoker_up, pressure })
    }

    /// A shutdown has begun.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// The invoker began, or ceased, to take work.
    pub fn set_invoker_up(&self, up: bool) {
        self.invoker_up.store(up, Ordering::Release);
    }
}

impl Platform for Process {
    fn invokers(&self) -> Vec<(String, bool)> {
        vec![("invoker0".to_owned(), self.invoker_up.load(Ordering::Acquire))]
    }

    fn metrics(&self) -> String {
        self.metrics.render()
    }

    fn trouble(&self) -> Option<&'static str> {
        let high = self.pressure.as_ref().is_some_and(Pressure::is_high);
        high.then_some("neither the disk nor the store takes records (is the disk full?)")
    }

    fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn check_code(&self, exec: &Exec) -> Result<(), String> {
        match exec.code() {
            Some(ExecCode::Inline(text)) if exec.binary() => {
                // What only looks like base64 is found out when it is run.
                let Ok(code) = STANDARD.decode(text.trim()) else { return Ok(()) };
                match archive::check(&code, archive::Limits::default()) {
                    // OpenWhisk takes any code; that it cannot be loaded is
                    // told by its first run.
                    Ok(()) | Err(Refused::Damaged(_) | Refused::Host(_)) => Ok(()),
                    Err(refused) => Err(refused.to_string()),
                }
            }
            _ => Ok(()),
        }
    }
}
