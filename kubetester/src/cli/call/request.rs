//! The target and the request of `kubetester call`, with the defaults of each system.

use super::{Call, known_methods, known_methods::KnownMethod};
use crate::{
    cli::{CliError, USAGE},
    target::Target,
    transport::Setup,
};

// === impl Call ===

impl Call {
    /// Completes method and request, and returns the method if it is a known one.
    pub(super) fn prepare(&mut self, target: &Target) -> Result<Option<KnownMethod>, CliError> {
        if matches!(target, Target::Http(_)) {
            return Ok(None);
        }
        let known_method = KnownMethod::of(self.method.method.as_ref());
        if self.method.data.is_some() {
            return Ok(known_method);
        }
        let default = || match target {
            Target::Grpc(endpoint) => endpoint.authority(),
            other => other.to_string().rsplit('/').next().unwrap_or_default().to_owned(),
        };
        let field = known_method.and_then(KnownMethod::field);
        match (field, &self.name) {
            (Some(field), name) => {
                let name = name.clone().unwrap_or_else(|| match known_method {
                    Some(KnownMethod::Greeter) => default(),
                    _ => String::new(),
                });
                self.method.data = Some(serde_json::json!({ field: name }).to_string());
            }
            (None, Some(_)) => {
                let why = "--name is for methods that greet; give the request of another one with --data";
                return Err(CliError::new(USAGE, why));
            }
            (None, None) => {}
        }
        Ok(known_method)
    }

    pub(super) fn setup(&self) -> Setup {
        Setup {
            headers: self.header.iter().cloned().collect(),
            pod_from: self.pod_from.clone(),
            connections: None,
            method: self.method.clone(),
            request: self.request.clone(),
            http: self.http,
            grpc: self.grpc,
            tls: self.tls.clone(),
        }
    }

    pub(super) fn target(&mut self) -> Result<Target, CliError> {
        if let Some(target) = &self.target {
            return Ok(target.clone());
        }
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let domain = given(&self.server_domain).unwrap_or_else(|| "localhost".to_owned());
        // Parsed only when it is needed: next to a Service named "server", Kubernetes sets it to a URL.
        let port = given(&self.server_port).unwrap_or_else(|| "12345".to_owned());
        let port: u16 = port
            .parse()
            .map_err(|_| CliError::new(USAGE, format!("SERVER_PORT is {port:?}, which is not a port")))?;
        if self.method.method.is_none() {
            self.method.method = known_methods::GET_CUSTOMER.parse().ok();
        }
        let target = format!("dns:///{domain}:{port}").parse();
        target.map_err(|error: crate::target::InvalidTarget| CliError::new(USAGE, error.to_string()))
    }
}
