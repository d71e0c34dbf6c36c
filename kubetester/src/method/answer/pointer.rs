//! Resolves a JSON pointer (RFC 6901) against the type of a message.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

/// The place that a pointer leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// A string, through these singular fields.
    Field(Vec<u32>),
    /// A value of the message as JSON, by this pointer with the JSON names of fields.
    Value(String),
}

/// Resolves `pointer`. Fields are named as in the .proto file or as in JSON.
pub(super) fn follow(pointer: &str, message: &MessageDescriptor) -> Result<Found, String> {
    if message.package_name() == "google.protobuf" {
        // A well-known type with special JSON: a Struct may have any names.
        return Ok(Found::Value(pointer.to_owned()));
    }
    let mut tokens = pointer.split('/').skip(1);
    let mut numbers = Vec::new();
    let mut canonical = String::new();
    let mut only_fields = true;
    let mut message = message.clone();
    while let Some(token) = tokens.next() {
        let name = token.replace("~1", "/").replace("~0", "~");
        let field = message.get_field_by_name(&name).or_else(|| message.get_field_by_json_name(&name));
        let field = field.ok_or_else(|| no_field(&message, &name))?;
        numbers.push(field.number());
        canonical = format!("{canonical}/{}", field.json_name());
        // A later member of a oneof clears an earlier one, which is not noticed when only one field is searched.
        only_fields &= field.containing_oneof().is_none_or(|oneof| oneof.is_synthetic()) && !field.is_group();
        let mut kind = field.kind();
        if field.is_list() || field.is_map() {
            only_fields = false;
            let of = if field.is_map() { "map" } else { "list" };
            let index = tokens.next();
            let index =
                index.ok_or_else(|| format!("{} is a {of}; say which, as {canonical}/0", field.name()))?;
            canonical = format!("{canonical}/{index}");
            if let (true, Kind::Message(entry)) = (field.is_map(), &kind) {
                kind = entry.map_entry_value_field().kind();
            }
        }
        match kind {
            // Well-known types have special JSON that does not match their fields.
            Kind::Message(inner) if inner.package_name() == "google.protobuf" => {
                return Ok(Found::Value(tokens.fold(canonical, |way, token| format!("{way}/{token}"))));
            }
            Kind::Message(inner) => message = inner,
            _ if tokens.next().is_some() => {
                return Err(format!("{} is no message and has nothing in it", field.name()));
            }
            Kind::String if only_fields => return Ok(Found::Field(numbers)),
            _ => return Ok(Found::Value(canonical)),
        }
    }
    Err(format!("that is a whole {}; go on to one of {}", message.full_name(), names(message.fields())))
}

fn no_field(message: &MessageDescriptor, name: &str) -> String {
    match message.fields().len() {
        0 => format!("{} has no field {name}, and no other", message.full_name()),
        _ => format!("{} has no field {name}; it has {}", message.full_name(), names(message.fields())),
    }
}

fn names(fields: impl Iterator<Item = FieldDescriptor>) -> String {
    fields.map(|field| field.name().to_owned()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::protos::tests::pool;

    const ANSWER: &str = r#"
        syntax = "proto3";
        package shop;
        import "google/protobuf/struct.proto";
        message Answer {
            string pod_name = 1;
            Inner inner = 2;
            repeated Inner inners = 3;
            map<string, Inner> by_name = 4;
            oneof one { string left = 5; string right = 6; }
            optional string maybe = 7;
            google.protobuf.Struct any_thing = 8;
            uint64 number = 9;
        }
        message Inner { string its_name = 1; Answer again = 2; }
        message Empty {}
    "#;

    fn followed(pointer: &str) -> Result<Found, String> {
        follow(pointer, &pool(ANSWER).get_message_by_name("shop.Answer").unwrap())
    }

    #[test]
    fn single_string_field_needs_no_decoding() {
        for (pointer, numbers) in [
            ("/pod_name", &[1][..]),
            ("/podName", &[1]),
            ("/inner/again/inner/its_name", &[2, 2, 2, 1]),
            ("/maybe", &[7]),
        ] {
            assert_eq!(followed(pointer), Ok(Found::Field(numbers.to_vec())), "{pointer}");
        }
        for (pointer, canonical) in [
            ("/inners/0/its_name", "/inners/0/itsName"),
            ("/by_name/a~1b/its_name", "/byName/a~1b/itsName"),
            ("/left", "/left"),
            ("/any_thing/some_key/x", "/anyThing/some_key/x"),
            ("/number", "/number"),
        ] {
            assert_eq!(followed(pointer), Ok(Found::Value(canonical.to_owned())), "{pointer}");
        }
    }

    #[test]
    fn pointer_to_no_field_is_an_error() {
        for (pointer, words) in [
            ("/hostname", "shop.Answer has no field hostname; it has pod_name, inner, inners"),
            ("/inner", "a whole shop.Inner; go on to one of its_name, again"),
            ("/inners", "inners is a list; say which, as /inners/0"),
            ("/inners/0", "a whole shop.Inner"),
            ("/pod_name/x", "pod_name is no message"),
            ("/", "no field ;"),
        ] {
            let sentence = followed(pointer).unwrap_err();
            assert!(sentence.contains(words), "{pointer}: {sentence}");
        }
        let any = pool(ANSWER).get_message_by_name("google.protobuf.Struct").unwrap();
        assert_eq!(follow("/hostname", &any), Ok(Found::Value("/hostname".to_owned())));
        let empty = pool(ANSWER).get_message_by_name("shop.Empty").unwrap();
        assert_eq!(follow("/a", &empty).unwrap_err(), "shop.Empty has no field a, and no other");
    }
}
