//! Any events of a watch give a set of endpoints of one address family, with each address once and with a port.

#![no_main]

use std::collections::BTreeSet;

use balanced_channel::Endpoint;
use libfuzzer_sys::{Corpus, fuzz_target};

/// The modules of balanced-channel under test, included by path so that the Kubernetes client need not be built.
#[allow(dead_code, reason = "balanced-channel uses the rest")]
#[path = "../../balanced-channel/src/resolver/kubernetes"]
mod kubernetes {
    pub(crate) mod model;
    pub(crate) mod service;
    pub(crate) mod slices;
}

use kubernetes::{
    model::{SliceList, WatchEvent},
    service::Service,
    slices::Slices,
};

// The first line is the target, the second a list, and each after it an event of a watch.
fuzz_target!(|text: &str| -> Corpus {
    let mut lines = text.lines();
    let Some(Ok(service)) = lines.next().map(Service::parse) else { return Corpus::Reject };
    let mut slices = Slices::default();
    if let Some(Ok(list)) = lines.next().map(serde_json::from_str::<SliceList>) {
        slices.replace(list.items);
    }
    check(&mut slices, &service);
    for line in lines {
        match serde_json::from_str(line) {
            Ok(WatchEvent::Added(slice) | WatchEvent::Modified(slice)) => slices.apply(slice),
            Ok(WatchEvent::Deleted(slice)) => slices.delete(&slice),
            Ok(WatchEvent::Bookmark(_) | WatchEvent::Error(_)) | Err(_) => continue,
        }
        check(&mut slices, &service);
    }
    Corpus::Keep
});

fn check(slices: &mut Slices, service: &Service) {
    match slices.endpoints(service) {
        Ok(endpoints) => {
            let families: BTreeSet<_> = endpoints.iter().map(|endpoint| endpoint.address.is_ipv4()).collect();
            assert!(families.len() <= 1, "{endpoints:?}");
            let addresses: BTreeSet<_> = endpoints.iter().map(|endpoint| endpoint.address).collect();
            assert_eq!(addresses.len(), endpoints.len(), "{endpoints:?}");
            assert!(endpoints.iter().all(|endpoint| endpoint.address.port() > 0), "{endpoints:?}");
            assert_eq!(slices.endpoints(service), Ok(endpoints), "a second call has the same result");
        }
        Err(no_such_port) => assert!(!no_such_port.ports.is_empty()),
    }
}
