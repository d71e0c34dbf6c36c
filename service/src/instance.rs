//! A running program.

use crate::{Admin, Identity, Metrics, Shutdown};

/// A running program: its identity, metrics, admin port and shutdown. One process may run several, each on its own
/// listeners. Clones share their state.
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
    /// The identity in responses, logs and metrics.
    pub identity: Identity,
    /// The metrics of the instance.
    pub metrics: Metrics,
    /// The pages of the admin port. They are served only if the port is on.
    pub admin: Admin,
    /// The shutdown signal.
    pub shutdown: Shutdown,
}

// === impl Instance ===

impl Instance {
    /// Creates an instance with empty metrics.
    #[must_use]
    pub fn new(identity: Identity, shutdown: Shutdown) -> Self {
        let metrics = Metrics::new(&identity);
        let admin = Admin::new(metrics.clone(), shutdown.clone());
        Self { identity, metrics, admin, shutdown }
    }
}
