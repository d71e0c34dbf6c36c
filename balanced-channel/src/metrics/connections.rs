//! Connections that were established, failed or lost (gRFC A94).

use std::{
    error::Error,
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{Metric, Point};
use crate::transport::CODE_NAMES;

/// The code under which codes that RFC 9113 does not define are counted.
const INTERNAL_ERROR: usize = 2;

/// The values of `grpc.disconnect_error` except those of GOAWAY, in the order of [`Disconnect`].
const ERRORS: [&str; 6] = [
    "subchannel shutdown",
    "connection reset",
    "connection timed out",
    "connection aborted",
    "socket error",
    "unknown",
];

/// The connections of a channel. Those that drain after a GOAWAY count as lost.
#[derive(Debug, Default)]
pub(crate) struct ConnectionMetrics {
    succeeded: AtomicU64,
    failed: AtomicU64,
    lost_by_goaway: [AtomicU64; CODE_NAMES.len()],
    lost: [AtomicU64; ERRORS.len()],
}

/// The first observed reason why a connection takes no more calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disconnect {
    /// The peer sent GOAWAY with this error code.
    GoAway(u32),
    /// The subchannel is not needed any more.
    Shutdown,
    Reset,
    /// A keepalive PING was not answered, or TCP timed out.
    TimedOut,
    Aborted,
    /// Any other error of the socket.
    Socket,
    /// The peer closed the connection, or violated the protocol.
    Unknown,
}

// === impl ConnectionMetrics ===

impl ConnectionMetrics {
    /// Records a connection that takes calls.
    pub(crate) fn succeeded(&self) {
        self.succeeded.fetch_add(1, Relaxed);
    }

    /// Records an attempt to connect that failed.
    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Records a connection that takes no more calls.
    pub(crate) fn lost(&self, why: Disconnect) {
        let counter = match why {
            Disconnect::GoAway(code) => {
                let code = usize::try_from(code).unwrap_or(INTERNAL_ERROR);
                self.lost_by_goaway.get(code).unwrap_or(&self.lost_by_goaway[INTERNAL_ERROR])
            }
            Disconnect::Shutdown => &self.lost[0],
            Disconnect::Reset => &self.lost[1],
            Disconnect::TimedOut => &self.lost[2],
            Disconnect::Aborted => &self.lost[3],
            Disconnect::Socket => &self.lost[4],
            Disconnect::Unknown => &self.lost[5],
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self) -> [Metric; 4] {
        let mut disconnections = Metric::counter(
            "grpc.subchannel.disconnections",
            "{disconnection}",
            "Connections that took calls and take none any more, by the reason seen first.",
        );
        let goaways = CODE_NAMES.iter().map(|code| format!("GOAWAY {code}")).zip(&self.lost_by_goaway);
        let others = ERRORS.iter().map(|error| (*error).to_owned()).zip(&self.lost);
        let mut lost = 0;
        for (error, counter) in goaways.chain(others) {
            let count = counter.load(Relaxed);
            lost += count;
            if count > 0 {
                disconnections.push(vec![("grpc.disconnect_error", error)], count);
            }
        }
        // Read after the lost connections, so that the number of open connections is never negative.
        let succeeded = self.succeeded.load(Relaxed);
        [
            disconnections,
            Metric::counter(
                "grpc.subchannel.connection_attempts_succeeded",
                "{attempt}",
                "Connections that came to take calls.",
            )
            .with(succeeded),
            Metric::counter(
                "grpc.subchannel.connection_attempts_failed",
                "{attempt}",
                "Attempts to connect that failed.",
            )
            .with(self.failed.load(Relaxed)),
            Metric::up_down_counter(
                "grpc.subchannel.open_connections",
                "{connection}",
                "Connections that take calls.",
            )
            .with(succeeded.saturating_sub(lost)),
        ]
    }

    /// Returns the metrics under their names in A78, which A94 replaces.
    pub(super) fn read_as_pick_first(&self) -> [Metric; 3] {
        let [disconnections, succeeded, failed, _] = self.read();
        let lost = disconnections.points.iter().filter_map(Point::count).sum::<u64>();
        let rename = |metric: Metric, name| Metric { name, ..metric };
        [
            Metric::counter(
                "grpc.lb.pick_first.disconnections",
                "{disconnection}",
                "Times that the selected subchannel lost its connection.",
            )
            .with(lost),
            rename(succeeded, "grpc.lb.pick_first.connection_attempts_succeeded"),
            rename(failed, "grpc.lb.pick_first.connection_attempts_failed"),
        ]
    }
}

// === impl Disconnect ===

impl Disconnect {
    /// Returns the kind of error that ended a connection.
    pub(crate) fn by(error: &(dyn Error + 'static)) -> Self {
        let mut source = Some(error);
        while let Some(error) = source {
            let io = error.downcast_ref().or_else(|| error.downcast_ref().and_then(h2::Error::get_io));
            if let Some(io) = io {
                return Self::by_io(io);
            }
            source = error.source();
        }
        Self::Unknown
    }

    fn by_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset => Self::Reset,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::ConnectionAborted => Self::Aborted,
            _ => Self::Socket,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_disconnect_reason_has_a_name() {
        let connections = ConnectionMetrics::default();
        let reasons = [
            (Disconnect::GoAway(0), "GOAWAY NO_ERROR"),
            (Disconnect::GoAway(13), "GOAWAY HTTP_1_1_REQUIRED"),
            (Disconnect::GoAway(u32::MAX), "GOAWAY INTERNAL_ERROR"),
            (Disconnect::Shutdown, "subchannel shutdown"),
            (Disconnect::Reset, "connection reset"),
            (Disconnect::TimedOut, "connection timed out"),
            (Disconnect::Aborted, "connection aborted"),
            (Disconnect::Socket, "socket error"),
            (Disconnect::Unknown, "unknown"),
        ];
        for (reason, name) in reasons {
            (0..2).for_each(|_| connections.succeeded());
            connections.lost(reason);
            let [disconnections, _, _, open] = connections.read();
            let point = disconnections.points.iter().find(|point| point.labels[0].1 == name).expect(name);
            assert_eq!(point.count(), Some(1), "{name}");
            let lost: u64 = disconnections.points.iter().filter_map(Point::count).sum();
            assert_eq!(open.points[0].count(), Some(lost), "half of them are lost");
        }
    }

    #[test]
    fn source_of_the_error_is_found() {
        for (kind, reason) in [
            (io::ErrorKind::ConnectionReset, Disconnect::Reset),
            (io::ErrorKind::TimedOut, Disconnect::TimedOut),
            (io::ErrorKind::ConnectionAborted, Disconnect::Aborted),
            (io::ErrorKind::BrokenPipe, Disconnect::Socket),
        ] {
            assert_eq!(Disconnect::by(&io::Error::from(kind)), reason);
        }
        assert_eq!(Disconnect::by(&h2::Error::from(h2::Reason::PROTOCOL_ERROR)), Disconnect::Unknown);
    }
}
