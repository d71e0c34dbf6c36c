//! The command and the time of a run: the small print of a page.

use std::time::SystemTime;

/// Flags whose value is nobody's business: a report is made to be passed on.
const SECRET: [&str; 2] = ["--header", "-H"];

/// How a result came to be.
#[derive(Debug, Clone)]
pub struct About {
    /// The command, as a shell would take it.
    pub command: String,
    /// When it began.
    pub began: SystemTime,
}

// === impl About ===

impl About {
    /// This program as it was called, now. Values of headers, which may be passwords, are left out.
    pub fn this_program() -> Self {
        let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
        Self { command: command(arguments), began: SystemTime::now() }
    }

    /// When it began, for people.
    pub(super) fn when(&self) -> String {
        let seconds = humantime::format_rfc3339_seconds(self.began).to_string();
        seconds.replace('T', " ").replace('Z', " UTC")
    }

    /// When it began, for machines.
    pub(super) fn timestamp(&self) -> String {
        humantime::format_rfc3339_seconds(self.began).to_string()
    }
}

fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut words = Vec::new();
    let mut secret = false;
    for (index, argument) in arguments.enumerate() {
        let flag = argument.split_once('=').map(|(flag, _)| flag).filter(|flag| SECRET.contains(flag));
        words.push(match flag {
            // Where it lies says nothing.
            _ if index == 0 => "kubetester".to_owned(),
            _ if secret => hidden(&argument),
            Some(flag) => format!("{flag}={}", hidden(&argument[flag.len() + 1..])),
            None => match argument.strip_prefix("-H") {
                Some(header) if !header.is_empty() => format!("-H{}", hidden(header)),
                _ => quoted(&argument),
            },
        });
        secret = !secret && SECRET.contains(&argument.as_str());
    }
    words.join(" ")
}

/// The name of a header without its value.
fn hidden(header: &str) -> String {
    let name = header.split_once(':').map_or("", |(name, _)| name);
    quoted(&format!("{name}: ..."))
}

fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,%+@".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_run_again_but_for_its_secrets() {
        for (arguments, expected) in [
            (&["/usr/bin/kubetester", "load", "dns:///a:1"][..], "kubetester load dns:///a:1"),
            (&["k", "load", "http://a/?via=b&c", ""], "kubetester load 'http://a/?via=b&c' ''"),
            (&["k", "it's"], r"kubetester 'it'\''s'"),
            (&["k", "--header", "Cookie: a=b", "-n", "1"], "kubetester --header 'Cookie: ...' -n 1"),
            (&["k", "--header=X: secret", "b"], "kubetester --header='X: ...' b"),
            (&["k", "-H", "Cookie: a=b", "-n", "1"], "kubetester -H 'Cookie: ...' -n 1"),
            (&["k", "-HX: secret", "b"], "kubetester -H'X: ...' b"),
            (&["k", "--header", "--header", "secret"], "kubetester --header ': ...' secret"),
        ] {
            assert_eq!(command(arguments.iter().map(|word| (*word).to_owned())), expected);
        }
    }
}
