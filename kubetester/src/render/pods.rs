//! The tables of pods, of a load and of streams.

/// The length of the bar of a pod that took every call, in characters.
pub(super) const BAR: usize = 24;
/// The maximum number of pods that are listed.
pub(super) const PODS: usize = 40;

/// The label of calls whose pod is unknown.
pub(super) const NO_POD: &str = "(no pod known)";

/// Returns the pods of a table: all in their order, or the busiest if there are too many.
pub(super) fn listed<T>(pods: &[T], calls: impl Fn(&T) -> u64) -> Vec<&T> {
    let mut listed: Vec<_> = pods.iter().collect();
    if listed.len() > PODS {
        listed.sort_by_key(|pod| std::cmp::Reverse(calls(pod)));
        listed.truncate(PODS);
    }
    listed
}
