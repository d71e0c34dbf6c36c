//! Descriptors from a server. They are validated before a pool is built, because the library trusts the indices and
//! types of a pool.

mod names;
mod validate;

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::DescriptorPool;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use self::names::Names;

/// The files that a server has described.
#[derive(Debug, Default)]
pub struct Files(BTreeMap<String, FileDescriptorProto>);

// === impl Files ===

impl Files {
    /// Adds a file. The first of a name counts. The files that come with protobuf itself are built in, and so are their
    /// types where a server has them in a file of its own: protobuf.js describes Timestamp in `google_protobuf.proto`.
    pub fn add(&mut self, file: FileDescriptorProto) {
        let file = built_in(file.name()).unwrap_or_else(|| without_built_in_types(file));
        self.0.entry(file.name().to_owned()).or_insert(file);
    }

    /// Returns the number of files.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the imports that are missing, after adding the built-in files.
    pub fn missing_files(&mut self) -> BTreeSet<String> {
        loop {
            let imported = self.0.values().flat_map(|file| &file.dependency);
            let missing: BTreeSet<_> = imported.filter(|name| !self.0.contains_key(*name)).cloned().collect();
            let ours: Vec<_> = missing.iter().filter_map(|name| built_in(name)).collect();
            if ours.is_empty() {
                return missing;
            }
            ours.into_iter().for_each(|file| self.add(file));
        }
    }

    /// Returns the types that are used but not defined, after adding the files of built-in types. Some servers leave
    /// out files, and some files leave out imports.
    pub fn missing_types(&mut self) -> BTreeSet<String> {
        loop {
            let missing = Names::of(self.0.values()).map(|names| names.undefined(self.0.values()));
            let missing = missing.unwrap_or_default();
            let pool = DescriptorPool::global();
            let ours = missing.iter().filter_map(|name| {
                let message = pool.get_message_by_name(name).map(|message| message.parent_file());
                message.or_else(|| pool.get_enum_by_name(name).map(|kind| kind.parent_file()))
            });
            let ours: Vec<_> = ours.filter(|file| !self.0.contains_key(file.name())).collect();
            if ours.is_empty() {
                return missing;
            }
            ours.into_iter().for_each(|file| self.add(file.file_descriptor_proto().clone()));
        }
    }

    /// Builds a pool.
    ///
    /// # Errors
    ///
    /// Fails with one sentence if the files are not valid output of a protobuf compiler, or do not fit together.
    pub fn into_pool(self) -> Result<DescriptorPool, String> {
        let mut files: Vec<_> = self.0.into_values().collect();
        let names = Names::of(&files)?;
        for file in &mut files {
            validate::file(file, &names)?;
        }
        let pool = DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file: files });
        pool.map_err(|error| format!("its descriptions do not fit together: {error}"))
    }
}

/// Returns a file that comes with protobuf.
fn built_in(name: &str) -> Option<FileDescriptorProto> {
    let file = DescriptorPool::global().get_file_by_name(name)?;
    Some(file.file_descriptor_proto().clone())
}

/// Returns the file without the types that come with protobuf.
fn without_built_in_types(mut file: FileDescriptorProto) -> FileDescriptorProto {
    let pool = DescriptorPool::global();
    let package = file.package().to_owned();
    file.message_type
        .retain(|message| pool.get_message_by_name(&names::join(&package, message.name())).is_none());
    file.enum_type.retain(|kind| pool.get_enum_by_name(&names::join(&package, kind.name())).is_none());
    file
}

#[cfg(test)]
mod tests;
