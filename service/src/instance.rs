//! One running program.

use crate::{Admin, Identity, Metrics, Shutdown};

/// One running program: who it is, and how it is watched and ended. A process may hold many, each serving on
/// listeners of its own. Clones are the same instance.
///
/// ```
/// use service::{Identity, Instance, Shutdown};
///
/// let (trigger, shutdown) = Shutdown::new();
/// let identity = Identity { version: "v1-hellogrpc".into(), hostname: "pod-1".into() };
/// let instance = Instance::new(identity, shutdown);
/// # drop((trigger, instance));
/// ```
#[derive(Clone, Debug)]
pub struct Instance {
    /// The identity in its responses.
    pub identity: Identity,
    /// The metrics of the instance.
    pub metrics: Metrics,
    /// Its health and readiness, and routes of its own beside them. Served only when there is an admin port.
    pub admin: Admin,
    /// The shutdown signal.
    pub shutdown: Shutdown,
}

// === impl Instance ===

impl Instance {
    /// A program that has served nothing yet.
    #[must_use]
    pub fn new(identity: Identity, shutdown: Shutdown) -> Self {
        let metrics = Metrics::new(&identity);
        let admin = Admin::new(metrics.clone(), shutdown.clone());
        Self { identity, metrics, admin, shutdown }
    }
}
