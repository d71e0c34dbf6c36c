//! Detected outliers, both ejected and not ejected (gRFC A91).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Metric;

const METHODS: [DetectionMethod; 3] =
    [DetectionMethod::SuccessRate, DetectionMethod::FailurePercentage, DetectionMethod::ConsecutiveFailures];
const REASONS: [Unenforced; 2] = [Unenforced::EnforcementPercentage, Unenforced::MaxEjectionOverflow];

/// Counters of outliers, which the balancer's task updates.
#[derive(Debug, Default)]
pub(crate) struct EjectionMetrics {
    /// The ejections by detection method.
    enforced: [AtomicU64; METHODS.len()],
    /// The outliers that were not ejected, by detection method and reason.
    unenforced: [[AtomicU64; REASONS.len()]; METHODS.len()],
}

/// The rule that detected an outlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DetectionMethod {
    SuccessRate,
    FailurePercentage,
    /// Consecutive failures, an extension to A50 and A91.
    ConsecutiveFailures,
}

/// The reason why an outlier was not ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unenforced {
    /// Spared by chance, under the enforcement percentage.
    EnforcementPercentage,
    /// The maximum percentage of endpoints is ejected already.
    MaxEjectionOverflow,
}

// === impl EjectionMetrics ===

impl EjectionMetrics {
    pub(crate) fn enforced(&self, method: DetectionMethod) {
        self.enforced[method as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn unenforced(&self, method: DetectionMethod, reason: Unenforced) {
        self.unenforced[method as usize][reason as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> [Metric; 2] {
        let mut enforced = Metric::counter(
            "grpc.lb.outlier_detection.ejections_enforced",
            "{ejection}",
            "Endpoints that were ejected, by how they were found to be outliers.",
        );
        let mut unenforced = Metric::counter(
            "grpc.lb.outlier_detection.ejections_unenforced",
            "{ejection}",
            "Outliers that were not ejected, and why not.",
        );
        for method in METHODS {
            let label = ("grpc.lb.outlier_detection.detection_method", method.as_str().to_owned());
            let count = self.enforced[method as usize].load(Relaxed);
            if count > 0 {
                enforced.push(vec![label.clone()], count);
            }
            for reason in REASONS {
                let count = self.unenforced[method as usize][reason as usize].load(Relaxed);
                if count > 0 {
                    let why = ("grpc.lb.outlier_detection.unenforced_reason", reason.as_str().to_owned());
                    unenforced.push(vec![label.clone(), why], count);
                }
            }
        }
        [enforced, unenforced]
    }
}

// === impl DetectionMethod ===

impl DetectionMethod {
    fn as_str(self) -> &'static str {
        match self {
            Self::SuccessRate => "success_rate",
            Self::FailurePercentage => "failure_percentage",
            Self::ConsecutiveFailures => "consecutive_failures",
        }
    }
}

// === impl Unenforced ===

impl Unenforced {
    fn as_str(self) -> &'static str {
        match self {
            Self::EnforcementPercentage => "enforcement_percentage",
            Self::MaxEjectionOverflow => "max_ejection_overflow",
        }
    }
}
