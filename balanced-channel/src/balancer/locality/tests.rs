//! Tests of the rule for preferred zones at its limits, and of the resulting load of each zone for many layouts.

use proptest::{collection::vec, prelude::*};

use super::*;

/// Returns endpoints in zones with these sizes. The zones are named a, b, c and so on.
fn layout(sizes: &[usize]) -> Vec<Endpoint> {
    let places = sizes.iter().enumerate().flat_map(|(zone, size)| (0..*size).map(move |_| zone));
    places.enumerate().map(|(number, zone)| endpoint(number).in_zone(name(zone))).collect()
}

fn endpoint(number: usize) -> Endpoint {
    let [a, b] = u16::try_from(number).unwrap().to_be_bytes();
    SocketAddr::from(([10, 0, a, b], 80)).into()
}

fn name(zone: usize) -> String {
    char::from(b'a' + u8::try_from(zone).unwrap()).to_string()
}

/// Returns whether clients of `zone` use only their own zone.
fn keeps(zone: &str, sizes: &[usize]) -> bool {
    let endpoints = layout(sizes);
    let preferred = preferred(zone, &endpoints);
    for endpoint in preferred.iter().flatten() {
        assert_eq!(endpoint.zone.as_deref(), Some(zone));
    }
    preferred.is_some()
}

#[test]
fn zone_with_its_share_of_endpoints_is_exclusive() {
    assert!(keeps("a", &[2, 2, 2]));
    assert!(keeps("b", &[3, 3]));
    // 1.0 + 0; the small zone makes it 10 / (2 * 6) + 1 / 2 = 1.33.
    assert!(keeps("a", &[5, 5]) && !keeps("a", &[6, 4]));
    // a: 12 / (3 * 8) + 2 / 3 = 1.17.
    assert!(keeps("a", &[8, 2, 2]) && !keeps("b", &[8, 2, 2]));
    // 7 / (3 * 3) + 1 / 3 = 1.11 for a and b.
    assert!(keeps("a", &[3, 3, 1]) && keeps("b", &[3, 3, 1]) && !keeps("c", &[3, 3, 1]));
}

#[test]
fn zone_with_one_endpoint_and_single_zone_are_not_exclusive() {
    assert!(!keeps("a", &[1, 1, 1]));
    assert!(!keeps("a", &[4]));
    assert!(!keeps("a", &[]));
    assert!(!keeps("z", &[3, 3]), "nothing is there");
}

#[test]
fn endpoint_without_a_zone_disables_the_preference() {
    let mut endpoints = layout(&[3, 3]);
    endpoints.push(endpoint(100));
    assert_eq!(preferred("a", &endpoints), None);
}

#[test]
fn hints_apply_if_every_endpoint_has_one_and_some_are_for_the_zone() {
    let hinted = |for_zones: &[&[&str]]| -> Vec<Endpoint> {
        let endpoints = for_zones.iter().enumerate();
        endpoints
            .map(|(number, zones)| endpoint(number).in_zone("x").for_zones(zones.iter().copied()))
            .collect()
    };
    let chosen = |zone: &str, for_zones: &[&[&str]]| -> Option<Vec<usize>> {
        let all = hinted(for_zones);
        let preferred = preferred(zone, &all)?;
        Some(preferred.iter().map(|one| all.iter().position(|other| one == other).unwrap()).collect())
    };
    assert_eq!(chosen("a", &[&["a"], &["b"], &["a", "b"]]), Some(vec![0, 2]));
    assert_eq!(chosen("b", &[&["a"], &["b"], &["a", "b"]]), Some(vec![1, 2]));
    // A zone with hints may have a single endpoint.
    assert_eq!(chosen("c", &[&["a"], &["b"], &["c"]]), Some(vec![2]));
    assert_eq!(chosen("c", &[&["a"], &["b"], &["a"]]), None, "nothing is for this zone");
    assert_eq!(chosen("a", &[&["a"], &["b"], &[]]), None, "one has no hint");
    assert_eq!(chosen("a", &[&["a"], &["a"]]), None, "all are for it");
}

#[test]
fn all_endpoints_are_used_while_fewer_than_half_of_the_preferred_recover() {
    let endpoints: Arc<[_]> = layout(&[4, 4]).into();
    let mut locality = Locality::new(Some("a".into()));
    locality.update(endpoints.clone());
    assert_eq!(*locality.endpoints(), endpoints[..4]);
    assert!(!locality.narrow(|_| false), "the preferred endpoints are in use already");
    assert!(locality.widen() && !locality.widen());
    assert_eq!(locality.endpoints(), endpoints);
    assert!(!locality.narrow(|address| *address == endpoints[0].address));
    // Endpoints of other zones do not count.
    assert!(!locality.narrow(|address| endpoints[3..].iter().any(|endpoint| endpoint.address == *address)));
    locality.update(endpoints.clone());
    assert_eq!(locality.endpoints(), endpoints, "a new set does not narrow the endpoints");
    assert!(locality.narrow(|address| endpoints[2..4].iter().any(|endpoint| endpoint.address == *address)));
    assert_eq!(*locality.endpoints(), endpoints[..4]);

    locality.widen();
    locality.update(endpoints[..4].into());
    locality.update(endpoints);
    assert_eq!(locality.endpoints().len(), 4, "a set without preferred endpoints resets the tier");
    let mut anywhere = Locality::new(None);
    anywhere.update(layout(&[4, 4]).into());
    assert!(!anywhere.widen() && anywhere.endpoints().len() == 8);
}

/// Returns the load of an endpoint in each zone, relative to its load when all clients call all endpoints. Each zone
/// with endpoints has the same number of clients.
fn loads(sizes: &[usize]) -> Vec<f64> {
    let endpoints = layout(sizes);
    let zones: Vec<_> =
        sizes.iter().enumerate().filter(|(_, size)| **size > 0).map(|(zone, _)| name(zone)).collect();
    let mut calls = BTreeMap::<SocketAddr, f64>::new();
    for zone in &zones {
        let used = preferred(zone, &endpoints).unwrap_or_else(|| endpoints.clone());
        for endpoint in &used {
            *calls.entry(endpoint.address).or_default() += 1.0 / used.len() as f64;
        }
    }
    let even = zones.len() as f64 / endpoints.len() as f64;
    let of =
        |zone: &String| endpoints.iter().find(|endpoint| endpoint.zone.as_deref() == Some(zone)).unwrap();
    zones.iter().map(|zone| calls.get(&of(zone).address).copied().unwrap_or_default() / even).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn zone_never_exceeds_the_load_limit_and_small_zone_never_exceeds_its_share(sizes in vec(0_usize..24, 1..7)) {
        let sizes: Vec<_> = sizes.into_iter().filter(|size| *size > 0).collect();
        for (zone, load) in loads(&sizes).into_iter().enumerate() {
            let bound = if keeps(&name(zone), &sizes) { 1.2 } else { 1.0 };
            prop_assert!(load <= bound + 1e-9, "{sizes:?}: {load} where there are {}", sizes[zone]);
        }
    }

    #[test]
    fn zones_of_equal_size_are_exclusive(zones in 2_usize..7, size in 2_usize..20) {
        let sizes = vec![size; zones];
        for zone in 0..zones {
            prop_assert!(keeps(&name(zone), &sizes));
        }
    }
}
