//! Reads the pod's name from a response, decoding as little as that takes.

mod field;
mod pointer;

use std::{fmt::Display, net::SocketAddr};

use http::HeaderMap;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};

use self::pointer::Found;
use super::MethodError;
use crate::pod_name::{self, KnownPlaces, Pod, PodFrom, PodSource, ResponseParts};

/// The JSON pointers to the names of known programs: this system's gateway and backends, and `message.Echo`.
const KNOWN: [&str; 3] = ["/response/hostname", "/hostname", "/serverID"];

/// The JSON pointer to the phrase `from hostname NAME` of `echo.EchoServer`.
const PHRASE: &str = "/message";

/// Reads the answers of one method.
#[derive(Debug)]
pub struct Reader {
    message: MessageDescriptor,
    place: Place,
}

/// The place of the pod's name.
#[derive(Debug)]
enum Place {
    /// The place that the built-in rules find.
    Known(Option<KnownField>, KnownPlaces),
    /// A string that is found without decoding the rest, by the numbers of the fields that lead to it.
    Field(Vec<u32>),
    /// A place in the message as JSON.
    Json(PodFrom),
    /// A place outside the message, such as a header.
    Beside(PodFrom),
}

/// The part of a message that the built-in rules search.
#[derive(Debug)]
enum KnownField {
    /// A text that is the name.
    Name(Vec<u32>),
    /// A text that may have the name in a phrase.
    Phrase(Vec<u32>),
    /// The message as JSON, which may have any fields.
    Json,
}

/// An encoded response.
#[derive(Debug, Clone, Copy)]
pub struct EncodedResponse<'a> {
    /// Response headers.
    pub headers: &'a HeaderMap,
    /// Trailers, where they were not put with the headers.
    pub trailers: Option<&'a HeaderMap>,
    /// The message, encoded; none when the call failed.
    pub message: Option<&'a [u8]>,
    /// True if the call ended with OK.
    pub succeeded: bool,
    /// The other end of the connection, where it is known.
    pub peer: Option<SocketAddr>,
}

// === impl Reader ===

impl Reader {
    /// Creates a reader that finds the name at `pod_from` in each `message`. For `peer_is_pod` see [`KnownPlaces::new`].
    ///
    /// # Errors
    ///
    /// Fails if a JSON pointer leads to no field of the message.
    pub fn new(
        pod_from: &PodFrom,
        message: &MessageDescriptor,
        peer_is_pod: bool,
    ) -> Result<Self, MethodError> {
        let place = match pod_from {
            PodFrom::Known => Place::Known(KnownField::of(message), KnownPlaces::new(peer_is_pod)),
            PodFrom::Pointer(text) => match pointer::follow(text, message) {
                Ok(Found::Field(numbers)) => Place::Field(numbers),
                Ok(Found::Value(pointer)) => Place::Json(PodFrom::Pointer(pointer)),
                Err(why) => return Err(MethodError::Usage(format!("--pod-from {text}: {why}"))),
            },
            PodFrom::Regex(_) => Place::Json(pod_from.clone()),
            PodFrom::Header(_) | PodFrom::Peer => Place::Beside(pod_from.clone()),
        };
        Ok(Self { message: message.clone(), place })
    }

    /// Returns whether the peer address is needed.
    pub fn wants_peer(&self) -> bool {
        match &self.place {
            Place::Known(_, known) => known.wants_peer(),
            Place::Beside(place) => matches!(place, PodFrom::Peer),
            Place::Field(_) | Place::Json(_) => false,
        }
    }

    /// Returns whether the pod of a stream with these headers is only known from its first message.
    pub fn wants_message(&self, headers: &HeaderMap) -> bool {
        match &self.place {
            Place::Known(field, known) => match known.source() {
                Some(source) => source == PodSource::Body,
                None => field.is_some() && !headers.contains_key(pod_name::HOSTNAME),
            },
            Place::Field(_) | Place::Json(_) => true,
            Place::Beside(_) => false,
        }
    }

    /// Returns the source of the pods' names, once it is decided.
    pub fn source(&self) -> Option<PodSource> {
        match &self.place {
            Place::Known(_, known) => known.source(),
            _ => Some(PodSource::Configured),
        }
    }

    /// Returns the pod, if the answer names it.
    ///
    /// # Errors
    ///
    /// Fails if the answer cannot be decoded; not every place of the pod's name needs that.
    pub fn pod(&self, answer: EncodedResponse<'_>) -> Result<Option<Pod>, String> {
        let EncodedResponse { headers, trailers, message, succeeded, peer } = answer;
        let find = |place: &PodFrom, body: &[u8]| place.find(ResponseParts { headers, trailers, body, peer });
        let configured = |name: Option<String>| name.map(|name| Pod { name, source: PodSource::Configured });
        match (&self.place, message) {
            (Place::Known(field, known), message) => {
                let name = match (field, message) {
                    (Some(field), Some(message)) => self.known(field, message)?,
                    _ => None,
                };
                Ok(known.find(succeeded, || name.clone(), headers, peer))
            }
            (Place::Field(_) | Place::Json(_), None) => Ok(None),
            (Place::Beside(place), _) => Ok(configured(find(place, &[]))),
            (Place::Json(place), Some(message)) => {
                Ok(configured(find(place, self.json(message)?.as_bytes())))
            }
            (Place::Field(numbers), Some(message)) => Ok(configured(self.text(message, numbers)?)),
        }
    }

    /// Returns the name that is in a known field.
    fn known(&self, field: &KnownField, message: &[u8]) -> Result<Option<String>, String> {
        Ok(match field {
            KnownField::Name(numbers) => self.text(message, numbers)?,
            KnownField::Phrase(numbers) => {
                self.text(message, numbers)?.as_deref().and_then(pod_name::from_hostname)
            }
            KnownField::Json => pod_name::known(self.json(message)?.as_bytes()),
        })
    }

    fn text(&self, message: &[u8], numbers: &[u32]) -> Result<Option<String>, String> {
        let text = field::text(message, numbers).map_err(|why| self.unreadable(&why))?;
        Ok(text.filter(|text| !text.is_empty()).map(str::to_owned))
    }

    /// Returns the whole answer as JSON.
    ///
    /// # Errors
    ///
    /// Fails if the message cannot be decoded.
    pub fn json(&self, message: &[u8]) -> Result<String, String> {
        let decoded = DynamicMessage::decode(self.message.clone(), message);
        let decoded = decoded.map_err(|why| self.unreadable(&why))?;
        let mut json = serde_json::Serializer::new(Vec::new());
        // A pod that is called 0 is a pod too.
        let options = SerializeOptions::new().skip_default_fields(false);
        decoded.serialize_with_options(&mut json, &options).map_err(|why| self.unreadable(&why))?;
        Ok(String::from_utf8_lossy(&json.into_inner()).into_owned())
    }

    fn unreadable(&self, why: &dyn Display) -> String {
        format!("the answer is no {}: {why}", self.message.full_name())
    }
}

// === impl KnownField ===

impl KnownField {
    fn of(message: &MessageDescriptor) -> Option<Self> {
        if message.full_name() == "google.protobuf.Struct" {
            return Some(Self::Json);
        }
        let text = |pointer| match pointer::follow(pointer, message) {
            Ok(Found::Field(numbers)) => Some(numbers),
            _ => None,
        };
        KNOWN.into_iter().find_map(text).map(Self::Name).or_else(|| text(PHRASE).map(Self::Phrase))
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::method::protos::tests::pool;

    const ANSWER: &str = r#"
        syntax = "proto3";
        package shop;
        import "google/protobuf/struct.proto";
        message Echo { string message = 1; string serverID = 2; }
        message Phrase { string message = 1; }
        message Plain { string hostname = 1; }
        message Gateway { string hostname = 1; Plain response = 2; }
        message Other { string pod_name = 1; uint32 index = 2; repeated Plain pods = 3; map<string, string> labels = 4; }
    "#;

    fn pod(from: &str, message: &str, json: &str) -> Option<String> {
        let message = pool(ANSWER).get_message_by_name(message).unwrap();
        let reader = Reader::new(&from.parse().unwrap(), &message, true).unwrap();
        let answer = DynamicMessage::deserialize(message, &mut serde_json::Deserializer::from_str(json));
        let encoded = answer.unwrap().encode_to_vec();
        let mut headers = HeaderMap::new();
        headers.insert("x-pod", "header-1".parse().unwrap());
        let mut trailers = HeaderMap::new();
        trailers.insert("x-node", "trailer-1".parse().unwrap());
        let peer = Some(([10, 1, 2, 3], 8000).into());
        reader
            .pod(EncodedResponse {
                headers: &headers,
                trailers: Some(&trailers),
                message: Some(&encoded),
                succeeded: true,
                peer,
            })
            .unwrap()
            .map(|pod| pod.name)
    }

    #[test]
    fn name_is_found_at_the_known_or_configured_place() {
        let other = r#"{"podName": "p", "pods": [{"hostname": "q"}], "labels": {"a/b": "r"}}"#;
        for (from, message, json, name) in [
            ("known", "shop.Plain", r#"{"hostname": "p"}"#, Some("p")),
            ("known", "shop.Plain", "{}", Some("10.1.2.3:8000")),
            ("known", "shop.Echo", r#"{"serverID": "p"}"#, Some("p")),
            ("known", "shop.Phrase", r#"{"message": "Hello Ann  from hostname p"}"#, Some("p")),
            ("known", "shop.Phrase", r#"{"message": "Hello Ann"}"#, Some("10.1.2.3:8000")),
            ("known", "google.protobuf.Struct", r#"{"hostname": "p"}"#, Some("p")),
            ("/hostname", "google.protobuf.Struct", r#"{"hostname": "p"}"#, Some("p")),
            ("/pod/name", "google.protobuf.Struct", r#"{"pod": {"name": "p"}}"#, Some("p")),
            ("known", "shop.Gateway", r#"{"hostname": "gw", "response": {"hostname": "p"}}"#, Some("p")),
            ("known", "shop.Gateway", r#"{"hostname": "gw"}"#, Some("10.1.2.3:8000")),
            ("known", "shop.Other", other, Some("10.1.2.3:8000")),
            ("/podName", "shop.Other", other, Some("p")),
            ("/pod_name", "shop.Other", other, Some("p")),
            ("/pods/0/hostname", "shop.Other", other, Some("q")),
            ("/pods/1/hostname", "shop.Other", other, None),
            ("/labels/a~1b", "shop.Other", other, Some("r")),
            ("/index", "shop.Other", other, Some("0")),
            ("regex:podName\":\"(.)", "shop.Other", other, Some("p")),
            ("header:x-pod", "shop.Other", other, Some("header-1")),
            ("header:x-node", "shop.Other", other, Some("trailer-1")),
            ("peer", "shop.Other", other, Some("10.1.2.3:8000")),
        ] {
            assert_eq!(pod(from, message, json).as_deref(), name, "{from} of {message} {json}");
        }
    }

    #[test]
    fn answer_of_another_shape_is_an_error() {
        let message = pool(ANSWER).get_message_by_name("shop.Plain").unwrap();
        let headers = HeaderMap::new();
        for (from, bytes) in
            [("/hostname", &b"\x0a\xff"[..]), ("/hostname", b"\x0a\x01\xff"), ("regex:.", b"\x0a\xff")]
        {
            let reader = Reader::new(&from.parse().unwrap(), &message, true).unwrap();
            let answer = EncodedResponse {
                headers: &headers,
                trailers: None,
                message: Some(bytes),
                succeeded: true,
                peer: None,
            };
            let sentence = reader.pod(answer).unwrap_err();
            assert!(sentence.starts_with("the answer is no shop.Plain: "), "{sentence}");
        }
    }
}
