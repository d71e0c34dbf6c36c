//! Tests with descriptors from a compiler, unchanged and modified.

use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DynamicMessage, SerializeOptions};
use prost_types::{
    EnumDescriptorProto, FieldDescriptorProto, OneofDescriptorProto, field_descriptor_proto::Type,
};

use super::*;
use crate::method::{
    protos::tests::{SHOP, pool},
    template,
};

fn shop() -> FileDescriptorProto {
    let pool = pool(SHOP);
    let file = pool.files().find(|file| file.package_name() == "shop").unwrap();
    file.file_descriptor_proto().clone()
}

fn made(described: impl IntoIterator<Item = FileDescriptorProto>) -> Result<DescriptorPool, String> {
    let mut files = Files::default();
    described.into_iter().for_each(|file| files.add(file));
    files.missing_files();
    files.missing_types();
    files.into_pool()
}

/// Uses a pool like the tool.
fn use_all(pool: &DescriptorPool, bytes: &[u8]) {
    for message in pool.all_messages() {
        drop(template(&message).to_string());
        let json =
            DynamicMessage::deserialize(message.clone(), &mut serde_json::Deserializer::from_str("{}"));
        drop(json.map(|message| message.encode_to_vec()));
        if let Ok(message) = DynamicMessage::decode(message, bytes) {
            let mut json = serde_json::Serializer::new(Vec::new());
            let options = SerializeOptions::new().skip_default_fields(false);
            drop(message.serialize_with_options(&mut json, &options));
        }
    }
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        drop((method.input().full_name().to_owned(), method.output().full_name().to_owned()));
    }
}

#[test]
fn editions_are_read() {
    let mut file = shop();
    file.syntax = Some("editions".to_owned());
    file.dependency.push("google/protobuf/go_features.proto".to_owned());
    for field in &mut file.message_type[0].field {
        field.proto3_optional = None;
    }
    let pool = made([file]).unwrap();
    let order = pool.get_message_by_name("shop.Order").unwrap();
    let order = DynamicMessage::decode(order, &b"\x0a\x02id\x12\x04\x22\x02\x01\x02"[..]).unwrap();
    assert_eq!(
        serde_json::to_string(&order).unwrap(),
        r#"{"customerId":"id","items":[{"sizes":[1,2]}]}"#,
        "packed and unpacked lists are read alike"
    );
}

#[test]
fn missing_imports_are_found_by_the_types_that_are_used() {
    let mut file = shop();
    file.dependency.clear();
    assert!(made([file.clone()]).is_ok(), "protobuf's own types are built in");
    let nested = &mut file.message_type[0].nested_type;
    let item = nested.remove(nested.iter().position(|nested| nested.name() == "Item").unwrap());
    let mut other = FileDescriptorProto { name: Some("other.proto".to_owned()), ..file.clone() };
    (other.message_type, other.service) = (vec![item], Vec::new());
    let moved = |name: &mut Option<String>| {
        *name = name.as_ref().map(|name| name.replace(".shop.Order.Item", ".shop.Item"));
    };
    file.message_type[0].field.iter_mut().for_each(|field| moved(&mut field.type_name));
    for nested in &mut file.message_type[0].nested_type {
        nested.field.iter_mut().for_each(|field| moved(&mut field.type_name));
    }
    file.service[0].method.iter_mut().for_each(|method| moved(&mut method.output_type));
    let mut files = Files::default();
    files.add(file.clone());
    assert_eq!(files.missing_types().into_iter().collect::<Vec<_>>(), ["shop.Item"]);
    assert!(made([file, other]).is_ok(), "two files that do not import each other fit together");
}

#[test]
fn well_known_type_in_another_file_is_the_built_in_one() {
    let mut file = shop();
    file.dependency = vec!["google_protobuf.proto".to_owned()];
    let timestamp = DescriptorPool::global().get_message_by_name("google.protobuf.Timestamp").unwrap();
    let other = FileDescriptorProto {
        name: Some("google_protobuf.proto".to_owned()),
        package: Some("google.protobuf".to_owned()),
        message_type: vec![timestamp.descriptor_proto().clone()],
        ..FileDescriptorProto::default()
    };
    let pool = made([file, other]).unwrap();
    let found = pool.get_message_by_name("google.protobuf.Timestamp").unwrap();
    assert_eq!(found.parent_file().name(), "google/protobuf/timestamp.proto");
}

#[test]
fn invalid_descriptor_is_one_sentence() {
    type Change = fn(&mut FileDescriptorProto);
    let cases: [(&str, Change); 14] = [
        ("unknown syntax", |file| file.syntax = Some("proto9".to_owned())),
        ("is no name", |file| file.message_type[0].name = Some(String::new())),
        ("is no name", |file| file.package = Some("a..b".to_owned())),
        ("it does not describe \"shop.Nothing\"", |file| {
            file.message_type[0].field[1].type_name = Some(".shop.Nothing".to_owned());
        }),
        ("has a number that is none", |file| file.message_type[0].field[0].number = Some(-1)),
        ("two fields with the number 1", |file| file.message_type[0].field[1].number = Some(1)),
        ("has an unknown type", |file| file.message_type[0].field[0].r#type = Some(99)),
        ("does not name its type", |file| file.message_type[0].field[1].type_name = None),
        ("is of another kind", |file| file.message_type[0].field[1].set_type(Type::Enum)),
        ("a oneof that is not there", |file| file.message_type[0].field[0].oneof_index = Some(7)),
        ("a oneof without fields", |file| {
            file.message_type[0]
                .oneof_decl
                .push(OneofDescriptorProto { name: Some("x".to_owned()), options: None });
        }),
        ("has no values", |file| file.message_type[0].enum_type[0].value.clear()),
        ("is called a map's entry", |file| {
            let entries = &mut file.message_type[0].nested_type;
            entries.iter_mut().find(|entry| entry.name() == "ByNumberEntry").unwrap().field.clear();
        }),
        ("is protobuf's own", |file| {
            file.package = Some("google.protobuf".to_owned());
            let name = Some("Timestamp".to_owned());
            file.enum_type.push(EnumDescriptorProto { name, ..EnumDescriptorProto::default() });
        }),
    ];
    for (words, change) in cases {
        let mut file = shop();
        change(&mut file);
        let sentence = made([file]).unwrap_err();
        assert!(sentence.contains(words) && sentence.lines().count() == 1, "{words}: {sentence}");
    }
}

#[test]
fn public_imports_in_a_circle_end() {
    let mut file = shop();
    file.dependency = vec![file.name().to_owned(), "b.proto".to_owned()];
    file.public_dependency = vec![0, 1, 9];
    let mut other =
        FileDescriptorProto { name: Some("b.proto".to_owned()), ..FileDescriptorProto::default() };
    (other.dependency, other.public_dependency) = (vec![file.name().to_owned()], vec![0]);
    assert!(made([file, other]).is_ok());
}

/// Mutates some fields of a message within its encoding.
fn disturb(file: &mut FileDescriptorProto, at: usize, what: u8, number: i32, name: &str) {
    fn fields(message: &mut prost_types::DescriptorProto) -> Vec<&mut FieldDescriptorProto> {
        let inner = message.nested_type.iter_mut().flat_map(fields);
        message.field.iter_mut().chain(inner).collect()
    }
    let mut all: Vec<_> = file.message_type.iter_mut().flat_map(fields).collect();
    let count = all.len();
    if let Some(field) = all.get_mut(at % count.max(1)) {
        match what % 8 {
            0 => field.number = Some(number),
            1 => field.r#type = Some(number.rem_euclid(20)),
            2 => field.type_name = Some(format!(".shop.{name}")),
            3 => field.oneof_index = Some(number),
            4 => field.label = Some(number.rem_euclid(5)),
            5 => field.name = Some(name.to_owned()),
            6 => field.default_value = Some(name.to_owned()),
            _ => field.json_name = Some(name.to_owned()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_cause_no_panic(flips in prop::collection::vec((0..4096_usize, any::<u8>()), 1..12), bytes: Vec<u8>) {
        let mut encoded = shop().encode_to_vec();
        for (at, to) in flips {
            let at = at % encoded.len();
            encoded[at] = to;
        }
        if let Ok(file) = FileDescriptorProto::decode(&encoded[..])
            && let Ok(pool) = made([file])
        {
            use_all(&pool, &bytes);
        }
    }

    #[test]
    fn changed_field_causes_no_panic(
        changes in prop::collection::vec((any::<usize>(), any::<u8>(), -2..30_i32, "(Order|State|Order\\.Item|key|value|a)"), 1..4),
        bytes: Vec<u8>,
    ) {
        let mut file = shop();
        for (at, what, number, name) in changes {
            disturb(&mut file, at, what, number, &name);
        }
        if let Ok(pool) = made([file]) {
            use_all(&pool, &bytes);
        }
    }
}
