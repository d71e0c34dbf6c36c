//! The methods of well-known clients, whose lines are printed in the format of those clients.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::method::MethodName;

/// The method of the echo service.
pub(crate) const ECHO: &str = "message.Echo/EchoMessage";

/// The method of the ticketing service that is called without a target.
pub(crate) const GET_CUSTOMER: &str = "ticketing.CustomerController/GetCustomer";

/// A method with a well-known client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KnownMethod {
    /// `hello.Hello/SayHello`.
    Hello,
    /// `helloworld.Greeter/SayHello`.
    Greeter,
    /// `echo.EchoServer`, both methods.
    EchoServer,
    /// `message.Echo/EchoMessage`.
    Echo,
    /// `ticketing.CustomerController/GetCustomer`.
    Ticketing,
}

// === impl KnownMethod ===

impl KnownMethod {
    /// Returns the kind of a method; `None` stands for `hello.Hello/SayHello`.
    pub(crate) fn of(method: Option<&MethodName>) -> Option<Self> {
        let Some(method) = method else { return Some(Self::Hello) };
        match method.to_string().as_str() {
            "hello.Hello/SayHello" => Some(Self::Hello),
            "helloworld.Greeter/SayHello" => Some(Self::Greeter),
            "echo.EchoServer/SayHello" | "echo.EchoServer/SayHelloStream" => Some(Self::EchoServer),
            ECHO => Some(Self::Echo),
            GET_CUSTOMER => Some(Self::Ticketing),
            _ => None,
        }
    }

    /// Returns the field of the request that `--name` fills.
    pub(crate) fn field(self) -> Option<&'static str> {
        match self {
            Self::Hello | Self::Greeter | Self::EchoServer => Some("name"),
            Self::Echo => Some("message"),
            Self::Ticketing => None,
        }
    }

    /// Returns the interval between calls of the method's own client.
    pub(crate) fn every(self) -> Duration {
        match self {
            Self::Ticketing => Duration::from_secs(3),
            _ => super::DEFAULT_INTERVAL,
        }
    }

    /// Returns the line of the method's own client before a call.
    pub(crate) fn before(self) -> Option<String> {
        (self == Self::Echo).then(|| format!("Sending Message at {}", clock().1))
    }

    /// Returns the line of the method's own client for a message of the response.
    pub(crate) fn line(self, json: &str, pod: Option<&str>) -> Option<String> {
        let message: Value = serde_json::from_str(json).ok()?;
        let text = |field: &str| message.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        match self {
            Self::Hello => None,
            Self::Greeter => {
                let (date, time) = clock();
                let message = text("message");
                let pod = pod.filter(|pod| !message.contains(pod));
                let from = pod.map(|pod| format!(" from {pod}")).unwrap_or_default();
                Some(format!("{date} {time} {message}{from}"))
            }
            Self::EchoServer => Some(text("message")),
            Self::Echo => Some(format!("Received Message at {} from server {}", clock().1, text("serverID"))),
            Self::Ticketing => Some(format!("{} {} {}", text("id"), text("firstName"), text("lastName"))),
        }
    }
}

/// Returns the date, as `2019/10/09`, and the time, as `14:21:32`, in UTC.
fn clock() -> (String, String) {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let (date, time) = now.split_once('T').unwrap_or_default();
    (date.replace('-', "/"), time.trim_end_matches('Z').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_has_its_own_line() {
        let known_method = |method: &str| KnownMethod::of(Some(&method.parse().unwrap()));
        assert_eq!(KnownMethod::of(None), Some(KnownMethod::Hello));
        assert_eq!(known_method("helloworld.Greeter/SayHello"), Some(KnownMethod::Greeter));
        assert_eq!(known_method("shop.Orders/Get"), None);
        let line = KnownMethod::Greeter.line(r#"{"message":"Hello gw:443"}"#, Some("greeter-1")).unwrap();
        let (date, rest) = line.split_once(' ').unwrap();
        assert!(date.len() == 10 && date.matches('/').count() == 2, "{line}");
        assert_eq!(&rest[8..], " Hello gw:443 from greeter-1");
        let line = KnownMethod::Echo.line(r#"{"message":"a","serverID":"pod-1"}"#, None).unwrap();
        assert!(line.starts_with("Received Message at ") && line.ends_with(" from server pod-1"), "{line}");
        assert_eq!(KnownMethod::EchoServer.line(r#"{"message":"Msg1 Ann"}"#, None).unwrap(), "Msg1 Ann");
        assert_eq!(KnownMethod::Hello.line("{}", None), None);
        assert!(KnownMethod::Echo.before().unwrap().starts_with("Sending Message at "));
    }
}
