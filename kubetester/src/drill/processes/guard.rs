//! The guard of a program: a process between the drill (or the demo) and a program that sees to it that the program, with
//! all processes of its group, does not outlive the drill, however the drill ends.
//!
//! The drill writes one order a line to the guard's standard input. When that closes, because the drill has ended or was
//! killed, the guard kills the program. The guard writes to its standard output `started PID` or `failed CAUSE`, and
//! `ended STATUS`; what the program writes goes to the guard's standard error.

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

/// The first argument of this program that makes it a guard.
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

/// Runs this process as a guard, if its arguments say so.
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
            tell(&format!("failed {error}"));
            ExitCode::FAILURE
        }
    })
}

/// Starts the program, and returns when it has ended.
async fn guard(program: &OsString, arguments: &[OsString]) -> io::Result<()> {
    // A signal to all processes of this name reaches the guard too.
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
    tell(&format!("started {group}"));
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
            // It may have ended this moment.
            Some(Some(order)) => _ = kill_process_group(group, order.signal()),
            Some(None) => {}
            None => {
                _ = kill_process_group(group, Signal::KILL);
                break child.wait().await;
            }
        }
    };
    // Processes that it has started and left.
    _ = kill_process_group(group, Signal::KILL);
    tell(&format!("ended {}", status?));
    Ok(())
}

/// Reads the orders; the channel closes with standard input.
fn orders() -> mpsc::UnboundedReceiver<String> {
    let (read, orders) = mpsc::unbounded_channel();
    // Not awaited: a read that is under way must not hold up the end of the guard.
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if read.send(line).is_err() {
                return;
            }
        }
    });
    orders
}

/// Tells the drill, which may be gone.
fn tell(line: &str) {
    drop(writeln!(io::stdout(), "{line}"));
}
