//! JSON as text: a string, and an object of any shape written again with its keys sorted at every depth.
//!
//! Only keys are decoded; numbers, strings and the rest go on as the bytes that came, so a number that no
//! float can hold is not changed on its way.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::value::RawValue;

/// How deep a value may be nested; each level is read once more than the one around it.
const MAX_DEPTH: usize = 64;

/// A JSON object whose keys are known and whose values are still text.
#[derive(Deserialize)]
#[serde(transparent)]
struct Object<'a> {
    /// Of two fields with one key the later counts, as most JSON readers have it.
    #[serde(borrow)]
    fields: BTreeMap<Key<'a>, &'a RawValue>,
}

/// A key, borrowed from the input unless it has escapes.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Why a text cannot be written as a sorted object.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAnObject {
    #[error("is not a JSON object: {0}")]
    Json(#[from] serde_json::Error),
    #[error("is JSON nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
}

/// Appends the JSON object in `text` to `out`, keys sorted by their UTF-8 bytes, without spaces between.
///
/// # Errors
///
/// When `text` is anything but one JSON object, or is nested too deep; `out` may then hold a part of it.
pub(crate) fn write_sorted(text: &[u8], out: &mut Vec<u8>) -> Result<(), NotAnObject> {
    serde_json::from_slice::<Object<'_>>(text)?.write(out, MAX_DEPTH)
}

// === impl Object ===

impl Object<'_> {
    fn write(&self, out: &mut Vec<u8>, depth_left: usize) -> Result<(), NotAnObject> {
        out.push(b'{');
        for (position, (key, value)) in self.fields.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            write_string(out, &key.0);
            out.push(b':');
            write_value(value.get(), out, depth_left)?;
        }
        out.push(b'}');
        Ok(())
    }
}

/// Writes `text` as a JSON string.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a Vec takes every write, and a str is always a JSON string");
}

fn write_value(text: &str, out: &mut Vec<u8>, depth_left: usize) -> Result<(), NotAnObject> {
    let first = text.as_bytes()[0];
    if !matches!(first, b'{' | b'[') {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    let depth_left = depth_left.checked_sub(1).ok_or(NotAnObject::TooDeep)?;
    if first == b'{' {
        return serde_json::from_str::<Object<'_>>(text)?.write(out, depth_left);
    }
    out.push(b'[');
    for (position, value) in serde_json::from_str::<Vec<&RawValue>>(text)?.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_value(value.get(), out, depth_left)?;
    }
    out.push(b']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::{hash_map, vec},
        prelude::*,
    };
    use serde_json::Value;

    use super::*;

    fn sorted(text: &str) -> Result<String, NotAnObject> {
        let mut out = Vec::new();
        write_sorted(text.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn keys_are_sorted_at_every_depth_and_values_stay_as_they_are() {
        for (text, expected) in [
            ("{}", "{}"),
            (" { \"b\" : 1 ,\n\"a\" : 2 } ", r#"{"a":2,"b":1}"#),
            (
                r#"{"z":{"b":[ {"d":0,"c":[]} , null ],"a":true}}"#,
                r#"{"z":{"a":true,"b":[{"c":[],"d":0},null]}}"#,
            ),
            (
                r#"{"n":123456789012345678901234567890,"m":1.10,"e":1E400}"#,
                r#"{"e":1E400,"m":1.10,"n":123456789012345678901234567890}"#,
            ),
            (r#"{"b":"\u00e9\/","\u0061":1}"#, r#"{"a":1,"b":"\u00e9\/"}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"é":1,"z":2,"Z":3,"":4}"#, r#"{"":4,"Z":3,"z":2,"é":1}"#),
        ] {
            assert_eq!(sorted(text).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in
            ["", "[]", "\"a\"", "1", "null", "{", "{}x", "{\"a\":}", "{a:1}", "<html>", "{\"a\":\"\u{1}\"}"]
        {
            assert!(matches!(sorted(text), Err(NotAnObject::Json(_))), "{text}");
        }
        assert!(write_sorted(b"{\"a\":\"\xff\"}", &mut Vec::new()).is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(sorted(&nested(MAX_DEPTH)).is_ok());
        assert!(matches!(sorted(&nested(MAX_DEPTH + 1)), Err(NotAnObject::TooDeep)));
        assert!(matches!(sorted(&nested(30_000)), Err(NotAnObject::TooDeep)));
    }

    #[test]
    fn a_key_that_is_no_text_is_an_error() {
        assert!(matches!(sorted(r#"{"a":{"\ud800":1}}"#), Err(NotAnObject::Json(_))));
    }

    /// Any object, not very deep.
    fn object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                hash_map(".{0,4}", inner, 0..4).prop_map(Value::from_iter)
            ]
        });
        hash_map(".{0,4}", value, 0..4).prop_map(Value::from_iter)
    }

    proptest! {
        /// serde_json keeps its own objects sorted, and writes them without spaces.
        #[test]
        fn any_object_is_written_as_a_sorted_writer_would(object in object()) {
            let loose = serde_json::to_string_pretty(&object).unwrap();
            prop_assert_eq!(sorted(&loose).unwrap(), object.to_string());
        }
    }
}
