//! A gRPC client channel that follows the pods: client-side load balancing for [tonic].
//!
//! gRPC sends all calls of a client over one long connection. A balancer of connections, such as a Kubernetes ClusterIP,
//! therefore sends them all to one pod. A [`Channel`] connects to every endpoint of its target, distributes the calls over
//! them, and follows the endpoints as they change.
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
//! - [`Target`]: the name of the service, in the URI syntax of the gRPC naming document.
//! - [`Resolver`]: turns a target into sets of endpoints. [`PollingResolver`] makes one of any [`Lookup`].
//! - Subchannel: one endpoint, at most one HTTP/2 connection that takes calls, and its [`Connectivity`] state. A
//!   [`Connector`] opens the byte stream: [`TcpConnector`], or TLS over it with the feature `tls`.
//! - Balancer: owns the subchannels, compares sets of endpoints, starts and stops subchannels.
//! - Picker: selects the subchannel of each call under the channel's [`Policy`], without a lock.
//!
//! # Excluded endpoints, and retries
//!
//! Calls go to connected endpoints, except those that
//!
//! - leave PINGs unanswered ([`Keepalive`]),
//! - fail their calls ([`OutlierDetection`]), or
//! - report that they are not serving ([`Builder::health_check`]; off by default).
//!
//! If no other endpoint is left, calls go to unresponsive and ejected ones too.
//!
//! A call that no server has processed is always retried. A call that a server may have processed is retried only under a
//! [`RetryPolicy`] or a [`HedgingPolicy`], and never after its response has begun. A deadline, from the caller or from a
//! [`MethodConfig`], bounds all attempts together.
//!
//! # Configuration
//!
//! [`Builder`] has all settings and their defaults; [`ServiceConfig`] parses the JSON of gRPC. [`Channel::snapshot`] returns
//! the state of the channel, [`Channel::metrics`] its metrics under gRPC's names.
//!
//! # Features
//!
//! - `gzip`, `deflate`, `zstd`: compressed responses, see [`COMPRESSION_ENCODINGS`]. Off by default.
//! - `kubernetes`: `kubernetes:///` targets, by a watch on the service's EndpointSlices. Off by default.
//! - `tls`: `Builder::tls` and `https://` targets, by rustls. Off by default.
//!
//! # Glossary
//!
//! | term | meaning |
//! | --- | --- |
//! | attempt | One sending of a call to one endpoint (gRFC A6). |
//! | authority | The host and port that a client names in each call, the header `:authority` (RFC 9113). |
//! | backoff | The growing wait between attempts to connect (connection-backoff document), or between retries (gRFC A6). |
//! | call | The request of a caller, with all its attempts. |
//! | channel | The client of one service: its resolver, balancer and connections. |
//! | connectivity state | IDLE, CONNECTING, READY, TRANSIENT_FAILURE or SHUTDOWN (connectivity document). |
//! | deadline | The time by which a call must have ended, sent to servers in `grpc-timeout`. |
//! | draining | Taking no new calls while those in flight go on. |
//! | ejection | The exclusion of a READY endpoint that fails its calls (gRFC A50). |
//! | endpoint | One address of a service: usually one pod. |
//! | EndpointSlice | The Kubernetes object that lists the endpoints of a service, with their zones and readiness. |
//! | fallback endpoint | An address of the second family of a name, used while no address of the first takes calls. |
//! | GOAWAY | The HTTP/2 frame by which a server ends a connection (RFC 9113, section 6.8). |
//! | hedge | A further attempt beside one that is slow (gRFC A6). |
//! | hedging budget | The token bucket that limits hedges because of slow attempts. |
//! | in flight | Sent, and not ended yet. |
//! | keepalive | PINGs that detect an unresponsive peer (gRFC A8). |
//! | load report | The utilization that a backend sends with a response (ORCA, gRFC A51). |
//! | load-balancing policy | The rule that selects the endpoints to connect to, and the endpoint of each call. |
//! | method config | The settings of some methods in a service config: timeout, retries, hedging, wait-for-ready. |
//! | outlier detection | The comparison of endpoints that leads to ejections (gRFC A50). |
//! | pick | The selection of a subchannel for one attempt. |
//! | picker | An immutable snapshot of READY subchannels that makes picks. |
//! | probe | A PING to a silent peer that owes a response. |
//! | pushback | The instruction of a server to delay or omit retries (`grpc-retry-pushback-ms`, gRFC A6). |
//! | refresh | A further lookup, requested by the channel when a connection is lost. |
//! | resolver | The part that turns a target into sets of endpoints. |
//! | retry | An attempt after one that failed (gRFC A6). |
//! | retry throttling | The token bucket that stops retries while many calls fail (gRFC A6). |
//! | service config | The settings that the owner of a service gives to its clients (gRFC A2). |
//! | set | All endpoints of one resolution; it replaces the set before. |
//! | silent | Leaving a PING unanswered: unresponsive. |
//! | slow start | A growing share of calls for an endpoint that has just become READY (gRFC A100). |
//! | subchannel | The connection to one endpoint, and its connectivity state. |
//! | subset | The part of a set that one client connects to (gRFC A68). |
//! | target | The name of a service in gRPC's URI syntax (naming document). |
//! | transparent retry | A retry of a call that no server has processed; it needs no policy (gRFC A6). |
//! | wait-for-ready | The mode in which calls wait, rather than fail, while no endpoint is READY. |
//! | zone | The failure zone of a client or an endpoint (`topology.kubernetes.io/zone`). |
//!
//! The README has all settings in one table, the behaviour in each situation, and a comparison with other clients.
//!
//! [tonic]: https://docs.rs/tonic

// The documentation is for users of the crate, who cannot see private items.
#![deny(rustdoc::private_intra_doc_links)]

/// The examples of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod backoff;
mod balancer;
mod call;
mod channel;
mod compression;
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
pub use compression::{COMPRESSION_ENCODINGS, unsupported_encoding_status};
pub use metrics::status_name;
pub use outlier::{FailurePercentage, OutlierDetection, SuccessRate};
pub use policy::{
    LeastRequest, PickFirst, Policy, RandomSubsetting, RingHash, SlowStart, WeightedRoundRobin,
};
#[cfg(feature = "kubernetes")]
#[doc(hidden)]
pub use resolver::kubernetes::{describe_plugin_error, kubeconfig, without_proxy};
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
#[doc(hidden)]
pub use transport::{describe_http2_error, header_list_size};
