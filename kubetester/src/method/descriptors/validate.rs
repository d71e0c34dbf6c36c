//! Validates one file and reduces it to the needed parts. Imports become the files whose types it uses, and options
//! that affect neither the wire format nor JSON are removed.

use std::{
    collections::{BTreeSet, HashSet},
    ops::RangeInclusive,
};

use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumOptions, FieldDescriptorProto, FieldOptions,
    FileDescriptorProto, MessageOptions, ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

use super::names::{Definition, Kind, Names, identifier, join};

/// The valid field numbers.
const FIELD_NUMBERS: RangeInclusive<i32> = 1..=0x1fff_ffff;

/// The types that are invalid as keys of maps.
const INVALID_KEY_TYPES: [Type; 6] =
    [Type::Double, Type::Float, Type::Bytes, Type::Message, Type::Group, Type::Enum];

/// Validates a file, with the definitions of all types.
struct Checker<'a> {
    names: &'a Names,
    imports: BTreeSet<String>,
}

/// Validates a file, and returns the reduced file for the pool.
///
/// # Errors
///
/// Fails with one sentence if the file is not valid output of a protobuf compiler.
pub(super) fn file(file: &mut FileDescriptorProto, names: &Names) -> Result<(), String> {
    match file.syntax() {
        "" | "proto2" | "proto3" => {}
        // An edition has the wire format of proto2: fields have presence unless they say otherwise, and both packed
        // and unpacked lists are read.
        "editions" => file.syntax = Some("proto2".to_owned()),
        syntax => return Err(format!("the file {:?} has the unknown syntax {syntax:?}", file.name())),
    }
    let package = file.package().to_owned();
    let mut checker = Checker { names, imports: BTreeSet::new() };
    file.message_type.iter_mut().try_for_each(|message| checker.message(message, &package))?;
    file.enum_type.iter_mut().try_for_each(|kind| enumeration(kind, &package))?;
    file.extension.iter_mut().try_for_each(|field| checker.extension(field, &package))?;
    file.service.iter_mut().try_for_each(|service| checker.service(service, &package))?;
    let mut imports = checker.imports;
    imports.remove(file.name());
    file.dependency = imports.into_iter().collect();
    file.public_dependency.clear();
    file.weak_dependency.clear();
    (file.options, file.source_code_info) = (None, None);
    Ok(())
}

// === impl Checker ===

impl Checker<'_> {
    fn message(&mut self, message: &mut DescriptorProto, scope: &str) -> Result<(), String> {
        let full = join(scope, message.name());
        let map_entry = message.options.as_ref().is_some_and(|options| options.map_entry());
        message.options =
            map_entry.then(|| MessageOptions { map_entry: Some(true), ..MessageOptions::default() });
        for oneof in &mut message.oneof_decl {
            identifier(oneof.name(), &full)?;
            oneof.options = None;
        }
        let (mut numbers, mut members) = (HashSet::new(), HashSet::new());
        for field in &mut message.field {
            self.field(field, &full)?;
            let name = field.name();
            if !numbers.insert(field.number()) {
                return Err(format!("{full} has two fields with the number {}", field.number()));
            }
            if let Some(oneof) = field.oneof_index {
                if usize::try_from(oneof).is_ok_and(|oneof| oneof < message.oneof_decl.len()) {
                    members.insert(oneof);
                } else {
                    return Err(format!("the field {name} of {full} is in a oneof that is not there"));
                }
                if field.label() == Label::Repeated {
                    return Err(format!("the list {name} of {full} is in a oneof"));
                }
            }
        }
        if members.len() < message.oneof_decl.len() {
            return Err(format!("{full} has a oneof without fields"));
        }
        if map_entry && !is_map_entry(message) {
            return Err(format!("{full} is called a map's entry and has not one key and one value"));
        }
        for range in &mut message.extension_range {
            range.options = None;
        }
        message.extension.iter_mut().try_for_each(|field| self.extension(field, &full))?;
        message.nested_type.iter_mut().try_for_each(|inner| self.message(inner, &full))?;
        message.enum_type.iter_mut().try_for_each(|inner| enumeration(inner, &full))
    }

    fn extension(&mut self, field: &mut FieldDescriptorProto, scope: &str) -> Result<(), String> {
        let (extendee, definition) = self.resolve(scope, field.extendee())?;
        if definition.kind != Kind::Message {
            return Err(format!("the extension {} of {extendee} extends no message", field.name()));
        }
        field.extendee = Some(format!(".{extendee}"));
        if field.oneof_index.is_some() {
            return Err(format!("the extension {} of {extendee} is in a oneof", field.name()));
        }
        self.field(field, scope)
    }

    fn field(&mut self, field: &mut FieldDescriptorProto, scope: &str) -> Result<(), String> {
        identifier(field.name(), scope)?;
        let name = field.name().to_owned();
        let wrong = |what: &str| Err(format!("the field {name} of {scope} {what}"));
        if !FIELD_NUMBERS.contains(&field.number()) {
            return wrong("has a number that is none");
        }
        if field.label.is_some_and(|label| Label::try_from(label).is_err()) {
            return wrong("has an unknown label");
        }
        let kind = match field.r#type {
            None => None,
            Some(number) => match Type::try_from(number) {
                Ok(kind) => Some(kind),
                Err(_) => return wrong("has an unknown type"),
            },
        };
        let named = matches!(kind, None | Some(Type::Message | Type::Group | Type::Enum));
        match (named, field.type_name().is_empty()) {
            (true, true) => return wrong("does not name its type"),
            (false, false) => return wrong("has two types"),
            (false, true) => field.type_name = None,
            (true, false) => {
                let (full, definition) = self.resolve(scope, field.type_name())?;
                if definition.kind == Kind::MapEntry && field.label() != Label::Repeated {
                    return wrong("is a single entry of a map");
                }
                let found = match (definition.kind, kind) {
                    (Kind::Enum, None | Some(Type::Enum)) => Type::Enum,
                    (Kind::Message, Some(Type::Group)) => Type::Group,
                    (Kind::Message | Kind::MapEntry, None | Some(Type::Message)) => Type::Message,
                    _ => return wrong("is of another kind than its type"),
                };
                field.set_type(found);
                field.type_name = Some(format!(".{full}"));
            }
        }
        let packed = field.options.as_ref().and_then(|options| options.packed);
        field.options = packed.map(|packed| FieldOptions { packed: Some(packed), ..FieldOptions::default() });
        Ok(())
    }

    fn service(&mut self, service: &mut ServiceDescriptorProto, package: &str) -> Result<(), String> {
        identifier(service.name(), package)?;
        service.options = None;
        let full = join(package, service.name());
        for method in &mut service.method {
            identifier(method.name(), &full)?;
            method.options = None;
            for name in [&mut method.input_type, &mut method.output_type] {
                let (message, definition) = self.resolve(&full, name.as_deref().unwrap_or_default())?;
                if definition.kind == Kind::Enum {
                    return Err(format!("a method of {full} has {message}, which is no message"));
                }
                *name = Some(format!(".{message}"));
            }
        }
        Ok(())
    }

    fn resolve(&mut self, scope: &str, name: &str) -> Result<(String, Definition), String> {
        let Some((full, definition)) = self.names.resolve(scope, name) else {
            return Err(format!(
                "it does not describe {:?}, which {scope} uses",
                name.trim_start_matches('.')
            ));
        };
        self.imports.insert(definition.file.clone());
        Ok((full, definition.clone()))
    }
}

fn enumeration(kind: &mut EnumDescriptorProto, scope: &str) -> Result<(), String> {
    let full = join(scope, kind.name());
    let allow_alias = kind.options.as_ref().and_then(|options| options.allow_alias);
    kind.options =
        allow_alias.map(|allow| EnumOptions { allow_alias: Some(allow), ..EnumOptions::default() });
    for value in &mut kind.value {
        identifier(value.name(), &full)?;
        value.options = None;
    }
    if kind.value.is_empty() { Err(format!("the enum {full} has no values")) } else { Ok(()) }
}

/// Returns whether a message has exactly the two fields of a map's entry.
fn is_map_entry(message: &DescriptorProto) -> bool {
    let [key, value] = &message.field[..] else { return false };
    let single =
        |field: &FieldDescriptorProto| field.label() != Label::Repeated && field.oneof_index.is_none();
    (key.number(), value.number()) == (1, 2)
        && (key.name(), value.name()) == ("key", "value")
        && single(key)
        && single(value)
        && !INVALID_KEY_TYPES.contains(&key.r#type())
}
