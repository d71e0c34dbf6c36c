//! Generates a JSON template of a message, with a value of the right type for every field.

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

/// The maximum number of fields of a template. Nested messages may otherwise have too many fields to print.
const MAX_FIELDS: usize = 500;

/// Returns the template of a message. Recursive messages are left empty, and a oneof has its first field only.
pub fn template(message: &MessageDescriptor) -> Value {
    fill(message, &mut Vec::new(), &mut { MAX_FIELDS })
}

fn fill(message: &MessageDescriptor, path: &mut Vec<String>, left: &mut usize) -> Value {
    if let Some(value) = well_known(message) {
        return value;
    }
    let name = message.full_name().to_owned();
    if path.contains(&name) {
        return json!({});
    }
    path.push(name);
    let mut fields = Map::new();
    for field in message.fields() {
        let hidden = field
            .containing_oneof()
            .is_some_and(|oneof| oneof.fields().next().is_some_and(|first| first.number() != field.number()));
        if hidden || *left == 0 {
            continue;
        }
        *left -= 1;
        let value = match &field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let key = match entry.map_entry_key_field().kind() {
                    Kind::String => "key",
                    Kind::Bool => "false",
                    _ => "0",
                };
                let value = single(&entry.map_entry_value_field(), path, left);
                json!({ key: value })
            }
            _ if field.cardinality() == Cardinality::Repeated => json!([single(&field, path, left)]),
            _ => single(&field, path, left),
        };
        fields.insert(field.json_name().to_owned(), value);
    }
    path.pop();
    Value::Object(fields)
}

fn single(field: &FieldDescriptor, path: &mut Vec<String>, left: &mut usize) -> Value {
    match field.kind() {
        Kind::Message(message) => fill(&message, path, left),
        Kind::Enum(kind) => json!(kind.default_value().name()),
        Kind::Bool => json!(false),
        Kind::String | Kind::Bytes => json!(""),
        Kind::Double | Kind::Float => json!(0.0),
        // 64-bit integers are strings in the protobuf JSON mapping.
        Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => json!("0"),
        _ => json!(0),
    }
}

/// Returns the template of a well-known type, which has a special JSON form.
fn well_known(message: &MessageDescriptor) -> Option<Value> {
    Some(match message.full_name().strip_prefix("google.protobuf.")? {
        "Timestamp" => json!("1970-01-01T00:00:00Z"),
        "Duration" => json!("0s"),
        "FieldMask" | "StringValue" | "BytesValue" => json!(""),
        "Struct" | "Empty" => json!({}),
        "Value" => Value::Null,
        "ListValue" => json!([]),
        "Any" => json!({ "@type": "type.googleapis.com/google.protobuf.Empty" }),
        "BoolValue" => json!(false),
        "DoubleValue" | "FloatValue" => json!(0.0),
        "Int64Value" | "UInt64Value" => json!("0"),
        "Int32Value" | "UInt32Value" => json!(0),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::{
        protos::tests::{order, pool},
        request,
    };

    #[test]
    fn template_has_each_field_and_is_a_request() {
        let order = order();
        let template = template(&order);
        let item = json!({ "sku": "", "count": 0, "weight": 0.0, "sizes": [0], "seal": "" });
        assert_eq!(
            template,
            json!({
                "customerId": "", "items": [item], "byNumber": { "0": item }, "due": "1970-01-01T00:00:00Z",
                "notes": {}, "post": "", "state": "OPEN", "parent": {}, "total": "0",
            })
        );
        assert_eq!(request::encode(&order, &template.to_string()).err(), None);
    }

    #[test]
    fn messages_that_hold_many_of_each_other_end() {
        let mut source = "syntax = \"proto3\";".to_owned();
        for depth in 0..12 {
            let fields: String = (1..=8).map(|n| format!("M{} f{n} = {n};", depth + 1)).collect();
            source += &format!("message M{depth} {{ {fields} }}");
        }
        source += "message M12 { string s = 1; }";
        let text = template(&pool(&source).get_message_by_name("M0").unwrap()).to_string();
        assert!(text.len() < 20_000, "{}", text.len());
    }
}
