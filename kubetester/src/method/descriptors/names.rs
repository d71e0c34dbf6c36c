//! The types that files define, by their full names.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::DescriptorPool;
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto};

/// The kind of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    /// The message of a map's entries.
    MapEntry,
    Enum,
}

/// The definition of a type.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) kind: Kind,
    pub(super) file: String,
}

/// All types, without a dot before their names.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, Definition>);

// === impl Names ===

impl Names {
    /// Collects the types of files.
    ///
    /// # Errors
    ///
    /// Fails if a name is not an identifier, is defined twice, or is that of a built-in type in another file.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = &'a FileDescriptorProto>) -> Result<Self, String> {
        let mut names = Self::default();
        for file in files {
            let package = file.package();
            if !package.is_empty() && !package.split('.').all(is_identifier) {
                return Err(format!(
                    "the file {:?} has the package {package:?}, which is no name",
                    file.name()
                ));
            }
            file.message_type.iter().try_for_each(|message| names.message(package, message, file))?;
            file.enum_type.iter().try_for_each(|kind| names.enumeration(package, kind, file))?;
        }
        Ok(names)
    }

    /// Returns the full name and definition of a type that is used in `scope`.
    pub(super) fn resolve(&self, scope: &str, name: &str) -> Option<(String, &Definition)> {
        if let Some(full) = name.strip_prefix('.') {
            return self.0.get(full).map(|definition| (full.to_owned(), definition));
        }
        let mut scope = scope;
        loop {
            let full = join(scope, name);
            if let Some(definition) = self.0.get(&full) {
                return Some((full, definition));
            }
            if scope.is_empty() {
                return None;
            }
            scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
    }

    /// Returns the types that the files use but do not define.
    pub(super) fn undefined<'a>(
        &self,
        files: impl IntoIterator<Item = &'a FileDescriptorProto>,
    ) -> BTreeSet<String> {
        let mut undefined = BTreeSet::new();
        let mut used = |scope: &str, name: &str| {
            if !name.is_empty() && self.resolve(scope, name).is_none() {
                undefined.insert(name.trim_start_matches('.').to_owned());
            }
        };
        for file in files {
            let package = file.package();
            file.message_type.iter().for_each(|message| used_by(message, package, &mut used));
            used_by_fields(&file.extension, package, &mut used);
            for (service, method) in file
                .service
                .iter()
                .flat_map(|service| service.method.iter().map(move |method| (service, method)))
            {
                let scope = join(package, service.name());
                used(&scope, method.input_type());
                used(&scope, method.output_type());
            }
        }
        undefined
    }

    fn message(
        &mut self,
        scope: &str,
        message: &DescriptorProto,
        file: &FileDescriptorProto,
    ) -> Result<(), String> {
        let map_entry = message.options.as_ref().is_some_and(|options| options.map_entry());
        let kind = if map_entry { Kind::MapEntry } else { Kind::Message };
        let full = self.define(scope, message.name(), kind, file)?;
        message.nested_type.iter().try_for_each(|inner| self.message(&full, inner, file))?;
        message.enum_type.iter().try_for_each(|inner| self.enumeration(&full, inner, file))
    }

    fn enumeration(
        &mut self,
        scope: &str,
        kind: &EnumDescriptorProto,
        file: &FileDescriptorProto,
    ) -> Result<(), String> {
        self.define(scope, kind.name(), Kind::Enum, file).map(drop)
    }

    fn define(
        &mut self,
        scope: &str,
        name: &str,
        kind: Kind,
        file: &FileDescriptorProto,
    ) -> Result<String, String> {
        identifier(name, scope)?;
        let full = join(scope, name);
        let pool = DescriptorPool::global();
        let built_in = pool.get_message_by_name(&full).map(|message| message.parent_file());
        let built_in = built_in.or_else(|| pool.get_enum_by_name(&full).map(|kind| kind.parent_file()));
        if built_in.is_some_and(|built_in| built_in.name() != file.name()) {
            return Err(format!("the file {:?} defines {full}, which is protobuf's own", file.name()));
        }
        let definition = Definition { kind, file: file.name().to_owned() };
        match self.0.insert(full.clone(), definition) {
            None => Ok(full),
            Some(other) => Err(format!("{full} is defined in {:?} and in {:?}", other.file, file.name())),
        }
    }
}

fn used_by(message: &DescriptorProto, scope: &str, used: &mut impl FnMut(&str, &str)) {
    let scope = join(scope, message.name());
    used_by_fields(&message.field, &scope, used);
    used_by_fields(&message.extension, &scope, used);
    for inner in &message.nested_type {
        used_by(inner, &scope, used);
    }
}

fn used_by_fields(fields: &[FieldDescriptorProto], scope: &str, used: &mut impl FnMut(&str, &str)) {
    for field in fields {
        used(scope, field.type_name());
        used(scope, field.extendee());
    }
}

/// Returns the full name of `name` in `scope`.
pub(super) fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// Returns an error for a name that is not an identifier.
pub(super) fn identifier(name: &str, scope: &str) -> Result<(), String> {
    if is_identifier(name) { Ok(()) } else { Err(format!("{name:?} in {scope:?} is no name")) }
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
