//! Encodes a JSON request as the method's message (protobuf JSON mapping).

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::{Number, Value};
use serde_path_to_error::Track;

use super::MethodError;

/// Encodes `json` as a `message`. The error names the field that does not fit.
pub(super) fn encode(message: &MessageDescriptor, json: &str) -> Result<Bytes, MethodError> {
    let mut track = Track::new();
    let read = serde_json::from_str(json).and_then(|mut json: Value| {
        round(&mut json);
        DynamicMessage::deserialize(message.clone(), serde_path_to_error::Deserializer::new(json, &mut track))
    });
    let read = read.map_err(|error| {
        let place = match track.path().to_string() {
            top if top == "." => String::new(),
            field => format!(", at {field}"),
        };
        let fields: Vec<_> = message.fields().map(|field| field.json_name().to_owned()).collect();
        let fields = match &fields[..] {
            [] => "no fields".to_owned(),
            fields => format!("the fields {}", fields.join(", ")),
        };
        let name = message.full_name();
        MethodError::Usage(format!("--data is no {name}{place}: {error}; a {name} has {fields}"))
    })?;
    Ok(read.encode_to_vec().into())
}

/// Rounds fractions to 64 bits. Another crate of the build may enable `arbitrary_precision`, with which serde_json
/// passes numbers on in a form that other libraries cannot read.
fn round(json: &mut Value) {
    match json {
        Value::Array(values) => values.iter_mut().for_each(round),
        Value::Object(fields) => fields.values_mut().for_each(round),
        Value::Number(number) if number.as_i64().is_none() && number.as_u64().is_none() => {
            if let Some(rounded) = number.as_f64().and_then(Number::from_f64) {
                *number = rounded;
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::protos::tests::order;

    fn encoded(json: &str) -> Result<Bytes, MethodError> {
        encode(&order(), json)
    }

    #[test]
    fn fields_go_by_either_name() {
        assert_eq!(encoded("{}").unwrap(), "");
        for json in [r#"{"customer_id": "x"}"#, r#"{"customerId": "x"}"#] {
            assert_eq!(&encoded(json).unwrap()[..], b"\x0a\x01x");
        }
        let due = encoded(r#"{"items": [{"count": 3}], "due": "1970-01-01T00:00:07Z"}"#).unwrap();
        assert_eq!(&due[..], b"\x12\x02\x10\x03\x1a\x02\x08\x07");
    }

    #[test]
    fn fractions_are_numbers() {
        for json in [r#"{"items": [{"weight": 0.50}]}"#, r#"{"items": [{"weight": 5e-1}]}"#] {
            assert_eq!(&encoded(json).unwrap()[..], b"\x12\x09\x19\0\0\0\0\0\0\xe0\x3f", "{json}");
        }
    }

    #[test]
    fn mismatched_json_error_names_the_field() {
        for (json, words) in [
            (r#"{"customer": "x"}"#, "'customer'"),
            (r#"{"customer": "x"}"#, "a shop.Order has the fields customerId, items, due"),
            (r#"{"customerId": 7}"#, "at customerId: invalid type: number, expected a string"),
            (r#"{"items": [{"sku": "a"}, {"count": -1}]}"#, "at items[1].count"),
            (r#"{"items": {}}"#, "at items"),
            (r#"{"due": "soon"}"#, "at due"),
            ("[]", "--data is no shop.Order: "),
            ("{} {}", "trailing characters"),
        ] {
            let sentence = encoded(json).unwrap_err().to_string();
            assert!(sentence.contains(words) && sentence.lines().count() == 1, "{json}: {sentence}");
        }
    }
}
