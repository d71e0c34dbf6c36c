//! A gRPC client channel that follows the pods: client-side load balancing for [tonic].
//!
//! gRPC runs every call of a client over one long connection, so a balancer of connections, such as
//! a Kubernetes ClusterIP, gives it nothing: one pod works and the others idle. A [`Channel`]
//! connects to every endpoint of its target, sends each call to the next in turn, and follows the
//! endpoints as they come and go.
//!
//! ```
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use balanced_channel::Channel;
//! use proto::hello::{Greeting, hello_client::HelloClient};
//!
//! let channel = Channel::new("dns:///grpc-svc:8000")?;
//! let mut client = HelloClient::new(channel);
//! let reply = client.say_hello(Greeting { name: "Ann".into() }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! ```text
//! Target -> Resolver -> set of endpoints -> Balancer (one task) -> Picker, an immutable snapshot
//!                                                ^                          |
//!                                    state changes of subchannels           v
//!                                                ^              call -> pick -> Subchannel -> HTTP/2
//! ```
//!
//! - [`Target`]: what the user writes, in the URI syntax of the gRPC naming document.
//! - [`Resolver`]: turns a target into whole sets of endpoints, again and again. [`Lookup`] and
//!   [`PollingResolver`] make one of anything that can be asked.
//! - Subchannel: one endpoint, one HTTP/2 connection, and its [`Connectivity`] state. A [`Connector`]
//!   opens the stream below it: [`TcpConnector`], or TLS over it with the feature `tls`.
//! - Balancer: holds the pool, compares endpoint sets, starts and stops subchannels.
//! - Picker: which subchannel takes this call, as its [`Policy`] says. No call takes a lock to get one.
//!
//! # What is left out, and what is sent again
//!
//! Calls go to endpoints that are connected. Of those, a call leaves out one that
//!
//! - answers no ping ([`Keepalive`]),
//! - fails its calls ([`OutlierDetection`]), or
//! - says that it does not serve ([`Builder::health_check`]; off by default).
//!
//! With nothing better, calls still go to a connection that is silent or ejected.
//!
//! A call that no server has seen is always sent again. One that a server may have processed is sent
//! again only if a [`RetryPolicy`] or a [`HedgingPolicy`] says so, and never once its response has begun. A deadline,
//! the caller's or that of a [`MethodConfig`], bounds all attempts together.
//!
//! # Configuration
//!
//! [`Builder`] has every knob and its default; [`ServiceConfig`] takes gRPC's own JSON.
//! [`Channel::snapshot`] says how the channel stands, [`Channel::metrics`] what it
//! has counted, under gRPC's names.
//!
//! # Features
//!
//! - `kubernetes`: `kubernetes:///` targets, by a watch on the service's EndpointSlices. Off by default.
//! - `tls`: `Builder::tls` and `https://` targets, by rustls. Off by default.
//!
//! # Glossary
//!
//! | term | meaning |
//! | --- | --- |
//! | attempt | One sending of a call to one endpoint |
//! | backoff | The growing wait between attempts to connect, or between retries |
//! | call | What the caller asked for, with all its attempts |
//! | ejection | Leaving out a READY endpoint that fails its calls |
//! | endpoint | One address of the service: usually one pod |
//! | hedge | A second attempt beside one that is slow |
//! | pick | The choice of a subchannel for one attempt |
//! | probe | A PING that finds out whether a silent peer is there |
//! | retry | An attempt after one that failed |
//! | set | All endpoints of one resolution; it replaces the one before |
//! | silent | Leaves a PING unanswered |
//! | subset | The part of a set that one client connects to |
//! | throttle | The token bucket that stops retries |
//! | transparent retry | One of a call that no server has seen |
//!
//! The README has all knobs in one table, what happens in which situation, and how other clients
//! compare.
//!
//! [tonic]: https://docs.rs/tonic

// Its pages are read by who uses it: no link may lead to what they cannot see.
#![deny(rustdoc::private_intra_doc_links)]

/// The examples of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod backoff;
mod balancer;
mod call;
mod channel;
pub mod metrics;
mod outlier;
mod policy;
mod resolver;
mod service_config;
mod subchannel;
mod target;
mod transport;

pub use backoff::BackoffPolicy;
pub use call::{ResponseBody, foreign_response_status};
pub use channel::{
    BuildError, Builder, Channel, ChannelSnapshot, ResolverSnapshot, ResponseFuture, RetrySnapshot,
    SubchannelSnapshot,
};
pub use metrics::status_name;
pub use outlier::{FailurePercentage, OutlierDetection, SuccessRate};
pub use policy::{
    LeastRequest, PickFirst, Policy, RandomSubsetting, RingHash, SlowStart, WeightedRoundRobin,
};
#[cfg(feature = "kubernetes")]
#[doc(hidden)]
pub use resolver::kubernetes::{describe_plugin_error, kubeconfig};
pub use resolver::{
    DnsLookup, Endpoint, Lookup, LookupAnswer, PollingResolver, Refresh, ResolveError, Resolver, Updates,
};
pub use service_config::{
    HedgingBudget, HedgingPolicy, MethodConfig, MethodName, RetryConfigError, RetryPolicy, RetryThrottling,
    ServiceConfig, ServiceConfigError, StatusCodes,
};
pub use subchannel::Connectivity;
pub use target::{Target, TargetError};
#[cfg(feature = "tls")]
#[doc(hidden)]
pub use transport::{CaFileVerifier, CertificateProblem};
pub use transport::{Connector, Keepalive, TcpConnector};
#[cfg(feature = "tls")]
pub use transport::{Tls, TlsConnector, TlsError};
