//! `kubetester completions` and `kubetester man`: generates shell completions and manual pages from the command line's
//! definition.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{COULD_NOT_RUN, Cli, CliError, OK, output};

const SHELLS: &str = "Set-up:
  bash  kubetester completions bash > ~/.local/share/bash-completion/completions/kubetester
  fish  kubetester completions fish > ~/.config/fish/completions/kubetester.fish
  zsh   kubetester completions zsh > ~/.zfunc/_kubetester
        with these lines in ~/.zshrc: fpath+=~/.zfunc; autoload -Uz compinit; compinit

The folders have to exist. New shells have the completions.";

const EXAMPLES: &str = "Examples:
  kubetester man | man -l -
  mkdir -p ~/.local/share/man/man1 && kubetester man ~/.local/share/man/man1";

/// Print a script that completes this program's commands and flags in a shell
#[derive(Debug, Args)]
#[command(after_help = SHELLS)]
pub(super) struct Completions {
    /// Shell to generate completions for
    shell: Shell,
}

/// Print the manual, or write a page for each command
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Manual {
    /// Write kubetester.1, kubetester-load.1 and so on to this directory
    directory: Option<PathBuf>,
}

/// Print the version
#[derive(Debug, Args)]
pub(super) struct Version {}

// === impl Completions ===

impl Completions {
    pub(super) fn run(self) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut public(), "kubetester", &mut script);
        print(&script)
    }
}

// === impl Manual ===

impl Manual {
    pub(super) fn run(self) -> ExitCode {
        let Some(directory) = self.directory else {
            let mut page = Vec::new();
            return match Man::new(manual()).render(&mut page) {
                Ok(()) => print(&page),
                Err(error) => {
                    CliError::new(COULD_NOT_RUN, format!("cannot generate the manual: {error}")).report()
                }
            };
        };
        match clap_mangen::generate_to(manual(), &directory) {
            Ok(()) => ExitCode::from(OK),
            Err(error) => {
                let why = format!("cannot write the manual to {}: {error}", directory.display());
                CliError::new(COULD_NOT_RUN, format!("{why}; name a writable directory that exists")).report()
            }
        }
    }
}

// === impl Version ===

impl Version {
    pub(super) fn run(self) -> ExitCode {
        print(concat!("kubetester ", env!("CARGO_PKG_VERSION"), "\n").as_bytes())
    }
}

/// Returns the command line without hidden commands, which the generators would show.
fn public() -> Command {
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set());
    let mut public = Command::new("kubetester").subcommands(shown.cloned());
    if let Some(about) = all.get_about() {
        public = public.about(about.clone());
    }
    if let Some(examples) = all.get_after_help() {
        public = public.after_help(examples.clone());
    }
    public.version(env!("CARGO_PKG_VERSION"))
}

/// Returns the command line without the `help` command, which needs no manual page.
fn manual() -> Command {
    public().disable_help_subcommand(true)
}

fn print(text: &[u8]) -> ExitCode {
    match output::write(text) {
        Ok(()) => ExitCode::from(OK),
        Err(stop) => stop.report(),
    }
}
