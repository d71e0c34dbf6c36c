//! Numbers, durations and status codes in protobuf's JSON encoding. Each type rejects values out of its range while it
//! is parsed, so that the error has the path of the field.

use std::{fmt, marker::PhantomData, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Unexpected, Visitor, value::MapAccessDeserializer},
};
use tonic::Code;

use crate::status_name;

/// The longest duration that protobuf has, in seconds: 10 000 years.
const MAX_SECONDS: u64 = 315_576_000_000;

/// A whole number from `MIN` to `MAX`, written as a number or as a string.
#[derive(Clone, Copy, Debug)]
pub(super) struct Int<const MIN: u64, const MAX: u64>(pub(super) u64);

/// Any `uint32`.
pub(super) type UInt32 = Int<0, { u32::MAX as u64 }>;
/// A number from 0 to 100.
pub(super) type Percent = Int<0, 100>;

/// A finite number, written as a number or as a string.
#[derive(Clone, Copy, Debug)]
pub(super) struct Float(pub(super) f64);

/// A duration such as `"1.5s"`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds(pub(super) Duration);

/// A duration greater than 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct PositiveSeconds(pub(super) Duration);

/// A status code, as its number or its name in any case (gRFC A6).
#[derive(Clone, Copy, Debug)]
pub(super) struct StatusCode(pub(super) Code);

/// A JSON object. A derived struct would also accept a list of its fields.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

struct ObjectVisitor<T>(PhantomData<T>);

/// The JSON forms of a number or a name.
enum Scalar {
    Number(f64),
    Text(String),
}

struct ScalarVisitor(&'static str);

// === impl Int ===

impl<const MIN: u64, const MAX: u64> Int<MIN, MAX> {
    /// Returns the number as a `u32`, which `MAX` must fit into.
    pub(super) fn u32(self) -> u32 {
        const { assert!(MAX <= u32::MAX as u64) };
        self.0 as u32
    }

    /// Returns the number as a `usize`. On every platform that tokio supports, a `usize` has at least 32 bits.
    pub(super) fn usize(self) -> usize {
        self.u32() as usize
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Int<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = number(deserializer, "a whole number")?;
        // An `f64` is exact up to 2^53, far above any MAX.
        if number.fract() != 0.0 || !(MIN as f64..=MAX as f64).contains(&number) {
            let range = match MAX < u64::from(u32::MAX) {
                true => format!("from {MIN} to {MAX}"),
                false => format!("at least {MIN}"),
            };
            return Err(D::Error::custom(format!("is {number}; it must be a whole number, {range}")));
        }
        Ok(Self(number as u64))
    }
}

// === impl Float ===

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number(deserializer, "a number").map(Self)
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D, expected: &'static str) -> Result<f64, D::Error> {
    let number = match deserializer.deserialize_any(ScalarVisitor(expected))? {
        Scalar::Number(number) => Some(number),
        Scalar::Text(text) => text.parse().ok(),
    };
    let finite = number.filter(|number: &f64| number.is_finite());
    finite.ok_or_else(|| D::Error::custom(format!("must be {expected}")))
}

// === impl Seconds ===

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a duration in seconds, such as \"1.5s\"";
        let Scalar::Text(text) = deserializer.deserialize_any(ScalarVisitor(EXPECTED))? else {
            return Err(D::Error::custom(format!("must be {EXPECTED}")));
        };
        duration(&text)
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("is {text:?}; it must be {EXPECTED}, and not negative")))
    }
}

impl<'de> Deserialize<'de> for PositiveSeconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Seconds(duration) = Seconds::deserialize(deserializer)?;
        if duration.is_zero() {
            return Err(D::Error::custom("is 0; it must be more"));
        }
        Ok(Self(duration))
    }
}

/// Parses digits, optionally a dot and up to nine more digits, and an `s`.
fn duration(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds: u64 = whole.parse().ok().filter(|seconds| *seconds <= MAX_SECONDS)?;
    Some(Duration::new(seconds, format!("{fraction:0<9}").parse().ok()?))
}

// === impl StatusCode ===

impl<'de> Deserialize<'de> for StatusCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a status code, such as \"UNAVAILABLE\" or 14";
        let code = match deserializer.deserialize_any(ScalarVisitor(EXPECTED))? {
            Scalar::Number(number) => (0..=16).find(|code| f64::from(*code) == number).map(Code::from_i32),
            Scalar::Text(name) => (0..=16).map(Code::from_i32).find(|code| is_name(*code, &name)),
        };
        code.map(Self).ok_or_else(|| D::Error::custom(format!("must be {EXPECTED}")))
    }
}

/// Returns whether `name` is gRPC's name of `code`. Accepts CANCELED as well as gRPC's CANCELLED.
fn is_name(code: Code, name: &str) -> bool {
    status_name(code).eq_ignore_ascii_case(name)
        || code == Code::Cancelled && name.eq_ignore_ascii_case("CANCELED")
}

// === impl Object ===

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

// === impl ScalarVisitor ===

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    /// Reads a number as serde_json presents it with its feature `arbitrary_precision`, which any crate of a program
    /// may enable: as a map with a private key.
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scalar, A::Error> {
        let number = serde_json::Number::deserialize(MapAccessDeserializer::new(map)).ok();
        let number = number.and_then(|number| number.as_f64());
        number.map(Scalar::Number).ok_or_else(|| Error::invalid_type(Unexpected::Map, &self))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }
}
