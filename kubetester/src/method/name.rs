//! Parses the name of a method on the command line, and suggests similar names if there is no such method.

use std::{fmt, str::FromStr};

use http::uri::PathAndQuery;

/// The minimum similarity of a suggested name (Jaro-Winkler, 0 to 1).
const MIN_SIMILARITY: f64 = 0.8;

/// The maximum number of names that are listed.
const MAX_LISTED: usize = 20;

/// A service and one of its methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodName {
    /// The service with its package: `helloworld.Greeter`.
    pub service: String,
    /// The method without its service: `SayHello`.
    pub method: String,
}

// === impl MethodName ===

impl MethodName {
    /// Returns the path of requests (gRPC over HTTP/2, "Requests").
    pub(super) fn path(&self) -> PathAndQuery {
        let path = format!("/{}/{}", self.service, self.method);
        path.parse().expect("a name has only letters, digits, underscores and dots")
    }

    /// Returns an error for an unknown service, with the existing services.
    pub(crate) fn no_service(&self, services: &[String]) -> String {
        format!("there is no service {}{}", self.service, instead(&self.service, services, "service"))
    }

    /// Returns an error for an unknown method, with the methods of the service.
    pub(super) fn no_method(&self, methods: &[String]) -> String {
        let instead = instead(&self.method, methods, "method");
        format!("{} has no method {}{instead}", self.service, self.method)
    }
}

impl FromStr for MethodName {
    type Err = String;

    /// Parses `pkg.Service/Method`. A leading slash, or a dot as separator, is accepted, as in other tools.
    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix('/').unwrap_or(text);
        let (service, method) = bare
            .rsplit_once('/')
            .or_else(|| bare.rsplit_once('.'))
            .ok_or_else(|| format!("{text:?} names no service; write pkg.Service/Method"))?;
        let is_name = |part: &str| {
            let rest = part.trim_start_matches(|first: char| first.is_ascii_alphabetic() || first == '_');
            rest.len() < part.len() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if service.split('.').all(is_name) && is_name(method) {
            return Ok(Self { service: service.to_owned(), method: method.to_owned() });
        }
        Err(format!("{text:?} cannot be a method's name; write pkg.Service/Method"))
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.method)
    }
}

/// Formats the end of an error: `; did you mean …? It has the methods …`.
fn instead(wanted: &str, names: &[String], kind: &str) -> String {
    let likeness = |name: &String| strsim::jaro_winkler(&wanted.to_lowercase(), &name.to_lowercase());
    let nearest = names.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let meant = nearest.filter(|name| likeness(name) >= MIN_SIMILARITY);
    let meant = meant.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    let mut list = names.iter().take(MAX_LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > MAX_LISTED {
        list.push_str(&format!(" and {} more", names.len() - MAX_LISTED));
    }
    match (names, meant.is_empty()) {
        ([], _) => format!("; there is no {kind} at all"),
        ([_], false) => meant,
        ([_], true) => format!("; the only {kind} is {list}"),
        (_, true) => format!("; the {kind}s are {list}"),
        (_, false) => format!("{meant} The {kind}s are {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_names_of_other_tools_are_parsed() {
        for text in ["a.b.Greeter/SayHello", "/a.b.Greeter/SayHello", "a.b.Greeter.SayHello"] {
            let name: MethodName = text.parse().unwrap();
            assert_eq!(
                (&*name.to_string(), name.path().as_str()),
                ("a.b.Greeter/SayHello", "/a.b.Greeter/SayHello")
            );
        }
        assert_eq!("Echo/Say_2".parse::<MethodName>().unwrap().service, "Echo");
        for text in [
            "",
            "/",
            "SayHello",
            "Greeter/",
            "/SayHello",
            "a..b/C",
            "a b/C",
            "a/b/C",
            "Grüße/C",
            "1a/C",
            "a/C?x",
        ] {
            let sentence = text.parse::<MethodName>().unwrap_err();
            assert!(sentence.contains("write pkg.Service/Method"), "{text}: {sentence}");
        }
    }

    #[test]
    fn unknown_name_error_lists_the_known_ones() {
        let name: MethodName = "helloworld.Greeter/sayhelo".parse().unwrap();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (methods, sentence) in [
            (&["SayHello"][..], "helloworld.Greeter has no method sayhelo; did you mean SayHello?"),
            (
                &["SayHello", "Bye"],
                "helloworld.Greeter has no method sayhelo; did you mean SayHello? The methods are SayHello, Bye",
            ),
            (&["Bye"], "helloworld.Greeter has no method sayhelo; the only method is Bye"),
            (&[], "helloworld.Greeter has no method sayhelo; there is no method at all"),
        ] {
            assert_eq!(name.no_method(&names(methods)), sentence);
        }
        let many: Vec<_> = (0..25).map(|number| format!("other.S{number}")).collect();
        let sentence = name.no_service(&many);
        assert!(sentence.ends_with("other.S19 and 5 more"), "{sentence}");
    }
}
