//! The guard of a program: a process between the drill (or the demo) and the program. It ensures that the program and
//! its process group do not outlive the drill, even if the drill is killed.
//!
//! The drill writes orders to the guard's standard input, one per line. When that closes, because the drill has ended or
//! was killed, the guard kills the program. The guard writes `started PID` or `failed CAUSE`, and later `ended STATUS`, to
//! its standard output. The program's output goes to the guard's standard error.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    os::fd::AsFd as _,
    process::{ExitCode, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// The first argument that runs this program as a guard.
pub(crate) const ARGUMENT: &str = "guard";

/// Signals to the program and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Kill,
    Freeze,
    Thaw,
    Terminate,
}

// === impl Order ===

impl Order {
    const ALL: [Self; 4] = [Self::Kill, Self::Freeze, Self::Thaw, Self::Terminate];

    /// Returns the line for the guard.
    pub(crate) fn line(self) -> &'static str {
        match self {
            Self::Kill => "kill\n",
            Self::Freeze => "freeze\n",
            Self::Thaw => "thaw\n",
            Self::Terminate => "terminate\n",
        }
    }

    fn signal(self) -> Signal {
        match self {
            Self::Kill => Signal::KILL,
            Self::Freeze => Signal::STOP,
            Self::Thaw => Signal::CONT,
            Self::Terminate => Signal::TERM,
        }
    }
}

/// Runs this process as a guard if [`ARGUMENT`] is its first argument.
pub fn main(arguments: &[OsString]) -> Option<ExitCode> {
    let [_, first, program, rest @ ..] = arguments else { return None };
    if first != ARGUMENT {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let guarded = runtime.and_then(|runtime| runtime.block_on(guard(program, rest)));
    Some(match guarded {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("failed {error}"));
            ExitCode::FAILURE
        }
    })
}

/// Starts the program, and returns when it has ended.
async fn guard(program: &OsString, arguments: &[OsString]) -> io::Result<()> {
    // `killall kubetester` reaches the guard, too.
    let mut interrupts = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
        .into_iter()
        .map(signal)
        .collect::<Result<Vec<_>, _>>()?;
    let mut child = Command::new(program)
        .args(arguments)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(io::stderr().as_fd().try_clone_to_owned()?)
        .spawn()?;
    let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    let group = id.ok_or_else(|| io::Error::other("it has no process ID"))?;
    report(&format!("started {group}"));
    let mut orders = orders();
    let [interrupt, terminate, hang_up] = &mut interrupts[..] else { unreachable!("there are three") };
    let status = loop {
        let order = tokio::select! {
            status = child.wait() => break status,
            order = orders.recv() => order,
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
            _ = hang_up.recv() => None,
        };
        let known =
            order.as_deref().map(|order| Order::ALL.into_iter().find(|one| one.line().trim_end() == order));
        match known {
            // The program may just have ended.
            Some(Some(order)) => _ = kill_process_group(group, order.signal()),
            Some(None) => {}
            None => {
                _ = kill_process_group(group, Signal::KILL);
                break child.wait().await;
            }
        }
    };
    // Kills processes that the program has left behind.
    _ = kill_process_group(group, Signal::KILL);
    report(&format!("ended {}", status?));
    Ok(())
}

/// Reads orders from standard input, and closes the channel at its end.
fn orders() -> mpsc::UnboundedReceiver<String> {
    let (read, orders) = mpsc::unbounded_channel();
    // A thread that is not joined, so that a pending read cannot delay the guard's exit.
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if read.send(line).is_err() {
                return;
            }
        }
    });
    orders
}

/// Writes a line to the drill. Errors are ignored because the drill may have ended.
fn report(line: &str) {
    drop(writeln!(io::stdout(), "{line}"));
}
