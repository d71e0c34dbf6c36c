//! The command and the time of a run, for the footer of a page.

use std::time::SystemTime;

/// The flags whose values are redacted, because reports are shared.
const REDACTED: [&str; 2] = ["--header", "-H"];

/// The origin of a result.
#[derive(Debug, Clone)]
pub struct About {
    /// The command, quoted for a shell.
    pub command: String,
    /// The time when the command started.
    pub began: SystemTime,
}

// === impl About ===

impl About {
    /// Returns the command line of this process and the current time. Values of headers, which may be passwords, are
    /// redacted.
    pub fn this_program() -> Self {
        let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
        Self { command: command(arguments), began: SystemTime::now() }
    }

    /// Formats the start time for people.
    pub(super) fn when(&self) -> String {
        let seconds = humantime::format_rfc3339_seconds(self.began).to_string();
        seconds.replace('T', " ").replace('Z', " UTC")
    }

    /// Formats the start time as RFC 3339.
    pub(super) fn timestamp(&self) -> String {
        humantime::format_rfc3339_seconds(self.began).to_string()
    }
}

fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut words = Vec::new();
    let mut redact = false;
    for (index, argument) in arguments.enumerate() {
        let flag = argument.split_once('=').map(|(flag, _)| flag).filter(|flag| REDACTED.contains(flag));
        words.push(match flag {
            // The path of the program is irrelevant.
            _ if index == 0 => "kubetester".to_owned(),
            _ if redact => hidden(&argument),
            Some(flag) => format!("{flag}={}", hidden(&argument[flag.len() + 1..])),
            None => match argument.strip_prefix("-H") {
                Some(header) if !header.is_empty() => format!("-H{}", hidden(header)),
                _ => quoted(&argument),
            },
        });
        redact = !redact && REDACTED.contains(&argument.as_str());
    }
    words.join(" ")
}

/// Returns the name of a header with its value redacted.
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
    fn command_is_quoted_and_its_secrets_are_redacted() {
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
