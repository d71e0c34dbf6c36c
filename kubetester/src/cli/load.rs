//! `kubetester load`: sends load to a target and says where it landed.

use std::process::ExitCode;

use clap::Args;

use super::{FAILED, OK, Stop, options::Options, output, stop_on_interrupt, watch::watched};
use crate::{engine::Run, render, report, result::LoadResult, target::Target};

/// Send load to a target and say which pods took it
///
/// Exits 0 when all went as expected, 1 when an expectation did not hold, 2 on bad usage, and 3 when the load could
/// not run at all, or no call of it succeeded and --max-errors does not allow that.
#[derive(Debug, Args)]
pub(super) struct Load {
    /// Target to call: http://host:port/path, grpc://host:port (one plain connection), either with an s for TLS, or a
    /// target of the balanced channel: dns:///host:port, dns://server:port/host:port, ipv4:a:p,b:p, ipv6:[a]:p, host:port
    target: Target,

    #[command(flatten)]
    options: Options,
}

// === impl Load ===

impl Load {
    pub(super) async fn run(self) -> Result<ExitCode, Stop> {
        let Self { target, options } = self;
        let about = options.report.about()?;
        let stop = stop_on_interrupt();
        let callers = options.callers(&target, &stop).await?;
        let plan = options.plan();
        let (run, _) = watched(Run::default(), &plan, callers, &stop, "").await;
        let mut result = LoadResult::new(&target, options.callers.get(), &plan, &run, &options.expectations);
        let reported = options.report.write(|| report::load(&result, &about));
        if !options.details {
            result.without_details();
        }
        output::print(&result, options.json, render::load)?;
        reported?;
        options.ran(&result)?;
        Ok(ExitCode::from(if result.held() { OK } else { FAILED }))
    }
}
