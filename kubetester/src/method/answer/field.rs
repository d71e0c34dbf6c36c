//! Finds one string in an encoded message without decoding the rest of the message, so that the tool itself adds little
//! load.

use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

/// The reasons why a string cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error(transparent)]
    Wire(#[from] DecodeError),
    #[error("a field goes on past its end")]
    TooShort,
    #[error("a text is not UTF-8")]
    NotUtf8(#[from] std::str::Utf8Error),
}

/// Returns the string at a path of field numbers. If a field occurs twice, the last one counts, as always in protobuf.
pub(super) fn text<'a>(message: &'a [u8], way: &[u32]) -> Result<Option<&'a str>, Malformed> {
    Ok(bytes(message, way)?.map(str::from_utf8).transpose()?)
}

fn bytes<'a>(mut message: &'a [u8], way: &[u32]) -> Result<Option<&'a [u8]>, Malformed> {
    let Some((wanted, rest)) = way.split_first() else { return Ok(Some(message)) };
    let mut found = None;
    while !message.is_empty() {
        let (number, wire_type) = decode_key(&mut message)?;
        if number != *wanted || wire_type != WireType::LengthDelimited {
            skip_field(wire_type, number, &mut message, DecodeContext::default())?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut message)?).map_err(|_| Malformed::TooShort)?;
        let (value, after) = message.split_at_checked(length).ok_or(Malformed::TooShort)?;
        message = after;
        // A message field that occurs several times is merged from all occurrences.
        found = bytes(value, rest)?.or(found);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_field_has_its_last_value() {
        for (message, way, found) in [
            (&b""[..], &[1][..], None),
            (b"\x0a\x01a", &[1], Some("a")),
            (b"\x10\x07\x0a\x01a\x1d\x00\x00\x00\x00", &[1], Some("a")),
            (b"\x0a\x01a\x0a\x01b", &[1], Some("b")),
            (b"\x12\x03\x0a\x01a", &[2, 1], Some("a")),
            (b"\x12\x03\x0a\x01a\x12\x02\x10\x01", &[2, 1], Some("a")),
            (b"\x12\x03\x0a\x01a\x12\x03\x0a\x01b", &[2, 1], Some("b")),
            (b"\x08\x01", &[1], None),
        ] {
            assert_eq!(text(message, way).unwrap(), found, "{message:?} {way:?}");
        }
    }

    #[test]
    fn invalid_message_is_an_error() {
        for message in [
            &b"\x0a"[..],
            b"\x0a\x05a",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x00\x01",
            b"\x0a\x01\xff",
        ] {
            assert!(text(message, &[1]).is_err(), "{message:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_cause_no_panic(message: Vec<u8>) {
            drop(text(&message, &[1, 2]));
        }
    }
}
