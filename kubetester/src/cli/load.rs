//! `kubetester load`: sends load to a target and reports which pods answered.

mod streams;

use std::process::ExitCode;

use clap::Args;

use self::streams::Streams;
use super::{
    CliError, exit_code,
    options::{Opened, Options},
    output::{self, Printed},
    stop_on_interrupt,
    watch::run_with_progress,
};
use crate::{
    engine::Run,
    render::{self, machines::Row},
    report,
    result::LoadResult,
    target::Target,
    transport::Caller,
};

const EXAMPLES: &str = r#"Examples:
  kubetester load http://127.0.0.1:8200/hellogrpc -n 10k -c 32
  kubetester load https://api.example.com/orders -X POST -H 'authorization: Bearer TOKEN' -d @order.json -z 30s
  kubetester load dns:///greeter:50051 --method helloworld.Greeter/SayHello -d '{"name": "Ann"}' --pod-from peer
  kubetester load dns:///greeter:50051 --streams 200 --hold 5m --max-skew 1.1
  kubetester load dns:///grpc-svc:8000 -q 500 -z 1m --expect-pods 3 --max-errors 0 --max-p99 50ms -o junit > result.xml"#;

/// Send load to a target and report which pods answered
///
/// Exits 0 when all expectations held, 1 when one did not, 2 on bad usage, 3 when the load could not run, no call
/// succeeded (and --max-errors does not allow that) or the result could not be written, and 130 when the load was
/// interrupted; the result is then about the part that ran.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Load {
    /// Target to call: http://host:port/path, grpc://host:port (one plain connection), either with an s for TLS, or a
    /// target of the balanced channel: dns:///host:port, dns://server:port/host:port, ipv4:a:p,b:p, ipv6:[a]:p, host:port
    target: Target,

    #[command(flatten)]
    options: Options,

    #[command(flatten)]
    streams: Streams,
}

// === impl Load ===

impl Load {
    pub(super) async fn run(self) -> Result<ExitCode, CliError> {
        let Self { target, options, streams } = self;
        let about = options.about()?;
        let stop = stop_on_interrupt();
        let (mut result, source) = match streams.count() {
            Some(count) => {
                let (result, transport) = streams.run(count, &target, &options, &stop).await?;
                (result, transport.pod_source())
            }
            None => {
                let Opened { transport, callers } = options.open(&target, &stop).await?;
                let plan = options.plan();
                let (run, callers) = run_with_progress(Run::default(), &plan, callers, &stop, "").await;
                let conditions = options.conditions(&target, &transport);
                let result = LoadResult::new(&conditions, &plan, &run, &options.expectations);
                (result, callers.first().and_then(Caller::pod_source))
            }
        };
        let reported = options.report.write(|| report::load(&result, &about));
        options.output.print(&mut result)?;
        if options.output.is_text() && !result.pods.is_empty() {
            output::print_pod_source(source)?;
        }
        reported?;
        options.check_any_success(&result)?;
        Ok(exit_code(result.held(), result.interrupted))
    }
}

// === impl LoadResult ===

impl Printed for LoadResult {
    fn page(&self) -> String {
        render::load(self)
    }

    fn rows(&self) -> Vec<Row<'_>> {
        vec![Row {
            kind: "load".to_owned(),
            name: &self.target,
            verdict: &self.verdict,
            expectations: &self.expectations,
            load: self,
        }]
    }

    fn without_details(&mut self) {
        self.over_time = None;
        self.histogram = None;
    }
}
