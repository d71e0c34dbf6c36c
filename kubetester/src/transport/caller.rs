//! The caller of one target: makes one call at a time.

use prost_reflect::DescriptorPool;

use super::{CallError, Reply, grpc, http_client};
use crate::{
    engine::{Call, Outcome},
    method::MethodError,
    pod_name::PodSource,
    sanitize,
};

/// Makes calls, one after the other.
pub enum Caller {
    /// HTTP, over a connection of its own.
    Http(http_client::Caller),
    /// gRPC, over connections that all callers share.
    Grpc(grpc::Caller),
}

// === impl Caller ===

impl Caller {
    /// Calls once and returns what the server responded. `name` is greeted over HTTP; over gRPC it is in the request.
    /// Each message of a stream is handed to `on_message` as JSON.
    ///
    /// # Errors
    ///
    /// Fails if there is no response, or if there can be none.
    pub async fn reply(
        &mut self,
        name: &str,
        on_message: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Reply, CallError> {
        match self {
            Self::Http(caller) => caller.reply(name).await,
            Self::Grpc(caller) => caller.reply(on_message).await,
        }
    }

    /// Returns the names of a gRPC server's services, by reflection.
    ///
    /// # Errors
    ///
    /// A sentence, if the server does not list them.
    pub async fn services(&self) -> Result<Vec<String>, MethodError> {
        match self {
            Self::Http(_) => Err(not_grpc()),
            Self::Grpc(caller) => caller.services().await,
        }
    }

    /// Returns the description of a service or a message of a gRPC server, by reflection.
    ///
    /// # Errors
    ///
    /// A sentence, if the server does not describe it.
    pub async fn symbol(&self, symbol: &str) -> Result<DescriptorPool, MethodError> {
        match self {
            Self::Http(_) => Err(not_grpc()),
            Self::Grpc(caller) => caller.symbol(symbol).await,
        }
    }

    /// Returns the methods of a gRPC server as `pkg.Service/Method`, by reflection.
    ///
    /// # Errors
    ///
    /// A sentence, if the server does not list them.
    pub async fn methods(&self) -> Result<Vec<String>, MethodError> {
        let mut methods = Vec::new();
        for name in self.services().await? {
            let described = self.symbol(&name).await.ok().and_then(|pool| pool.get_service_by_name(&name));
            match described {
                Some(service) => {
                    methods.extend(service.methods().map(|method| format!("{name}/{}", method.name())))
                }
                None => methods.push(name),
            }
        }
        Ok(methods)
    }

    /// Returns where the names of pods are from, once a response has decided that.
    pub fn pod_source(&self) -> Option<PodSource> {
        match self {
            Self::Http(caller) => caller.pod_source(),
            Self::Grpc(caller) => caller.pod_source(),
        }
    }
}

impl Call for Caller {
    async fn call(&mut self) -> Outcome {
        let outcome = match self {
            Self::Http(caller) => caller.call().await,
            Self::Grpc(caller) => caller.call().await,
        };
        Outcome {
            pod: outcome.pod.map(sanitize::name),
            error: outcome.error.map(sanitize::reason),
            ..outcome
        }
    }
}

/// Returns the error for operations that need a gRPC target.
fn not_grpc() -> MethodError {
    MethodError::Usage("an HTTP target has no services; write grpc://host:port".to_owned())
}
