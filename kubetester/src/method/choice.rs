//! The flags of a method: its name, its request, and the .proto files that describe it.

use std::{fs, io, path::PathBuf};

use super::{HELLO, Method, MethodError, MethodName, WATCH, built_in, protos};

/// The method to call and its request.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "gRPC method")]
#[group(skip)]
pub struct MethodOptions {
    /// Call this method of a gRPC target, as pkg.Service/Method [default: hello.Hello/SayHello]. What its messages
    /// look like is asked of the server, by reflection, unless --proto says it
    #[arg(long, value_name = "METHOD")]
    pub method: Option<MethodName>,

    /// The request of each call, for gRPC as JSON, for HTTP as the body (with POST, unless --request says otherwise);
    /// @FILE reads it from a file, @- from standard input [default: {} for gRPC, none for HTTP]
    #[arg(short = 'd', long, value_name = "DATA", value_parser = data)]
    pub data: Option<String>,

    /// Read what the messages look like from this .proto file; may be repeated
    #[arg(long = "proto", value_name = "FILE", requires = "method")]
    pub protos: Vec<PathBuf>,

    /// Look for --proto files and what they import in this folder; may be repeated [default: where each file is]
    #[arg(short = 'I', long = "proto-path", value_name = "FOLDER", requires = "protos")]
    pub folders: Vec<PathBuf>,
}

// === impl MethodOptions ===

impl MethodOptions {
    /// Returns whether any flag is set.
    pub fn is_set(&self) -> bool {
        *self != Self::default()
    }

    /// Returns the method, or its name if only the server's reflection can describe it.
    ///
    /// # Errors
    ///
    /// Fails if a file does not compile, if the files have no such method, or if the request does not fit it.
    pub fn method(&self) -> Result<Result<Method, &MethodName>, MethodError> {
        let Some(name) = &self.method else {
            let hello = HELLO.parse().expect("it is a service and a method");
            return Method::find(&built_in(), &hello, self.json()).map(Ok);
        };
        if self.protos.is_empty() {
            if name.to_string() == WATCH {
                // The protocol of health checks is fixed, and many servers that have it do not reflect it.
                return Method::find(&built_in(), name, self.json()).map(Ok);
            }
            return Ok(Err(name));
        }
        let pool = protos::compile(&self.protos, &self.folders)?;
        Method::find(&pool, name, self.json()).map(Ok)
    }

    /// Returns the request as JSON.
    pub fn json(&self) -> &str {
        self.data.as_deref().unwrap_or("{}")
    }
}

/// Reads the value of `--data`.
fn data(text: &str) -> Result<String, String> {
    match text.strip_prefix('@') {
        None => Ok(text.to_owned()),
        Some("-") => io::read_to_string(io::stdin()).map_err(|error| format!("standard input: {error}")),
        Some(file) => fs::read_to_string(file).map_err(|error| format!("{file}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_read_from_the_argument_or_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "{\"name\": \"Ann\"}\n").unwrap();
        assert_eq!(data(&format!("@{}", file.path().display())).unwrap(), "{\"name\": \"Ann\"}\n");
        assert_eq!(data("{}").unwrap(), "{}");
        let sentence = data("@/nowhere.json").unwrap_err();
        assert!(sentence.contains("/nowhere.json: No such"), "{sentence}");
    }

    #[test]
    fn built_in_method_needs_no_server() {
        let method =
            MethodOptions { data: Some("{\"name\": \"Ann\"}".to_owned()), ..MethodOptions::default() };
        let method = method.method().unwrap().unwrap();
        assert_eq!(
            (method.path.as_str(), &method.request[..]),
            ("/hello.Hello/SayHello", &b"\x0a\x03Ann"[..])
        );
        assert!(MethodOptions::default().method().unwrap().unwrap().request.is_empty());
        let asked = MethodOptions { method: Some("a.B/C".parse().unwrap()), ..MethodOptions::default() };
        assert_eq!(asked.method().unwrap().unwrap_err().to_string(), "a.B/C");
    }
}
