//! Compiles .proto files without `protoc`.

use std::path::{Path, PathBuf};

use prost_reflect::DescriptorPool;
use protox::Compiler;

use super::MethodError;

/// Compiles `files`. They and their imports are searched in `folders`, or by default in the folder of each file.
pub(super) fn compile(files: &[PathBuf], folders: &[PathBuf]) -> Result<DescriptorPool, MethodError> {
    let beside = || files.iter().map(|file| folder_of(file)).collect();
    let folders: Vec<_> =
        if folders.is_empty() { beside() } else { folders.iter().map(PathBuf::as_path).collect() };
    let compiled = Compiler::new(&folders).and_then(|mut compiler| {
        // Source information is needed for line numbers in errors.
        compiler.include_source_info(true).open_files(files)?;
        Ok(compiler.descriptor_pool())
    });
    compiled.map_err(|error| {
        // Only the debug format has the line of an error.
        let mut why = format!("{error:?}");
        if let Some(file) = error.file().filter(|file| !why.contains(file)) {
            why = format!("{file}: {why}");
        }
        let hint = if error.is_file_not_found() { "; name the folder with --proto-path" } else { "" };
        MethodError::Usage(format!("--proto does not compile: {why}{hint}"))
    })
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
pub(super) mod tests {
    use std::{fs, slice::from_ref};

    use prost_reflect::MessageDescriptor;
    use tempfile::TempDir;

    use super::*;

    /// A package whose message `Order` has every kind of field, for the tests of this folder.
    pub(in crate::method) const SHOP: &str = r#"
        syntax = "proto3";
        package shop;
        import "google/protobuf/struct.proto";
        import "google/protobuf/timestamp.proto";
        service Orders {
            rpc Get(Order) returns (Order.Item);
            rpc Watch(Order) returns (stream Order);
        }
        message Order {
            string customer_id = 1;
            repeated Item items = 2;
            google.protobuf.Timestamp due = 3;
            map<int32, Item> by_number = 4;
            google.protobuf.Struct notes = 5;
            oneof way { string post = 6; bool pickup = 7; }
            State state = 8;
            Order parent = 9;
            optional int64 total = 10;
            message Item {
                string sku = 1;
                uint32 count = 2;
                double weight = 3;
                repeated uint32 sizes = 4;
                bytes seal = 5;
            }
            enum State { OPEN = 0; CLOSED = 1; }
        }
    "#;

    /// Returns the descriptor of `shop.Order`.
    pub(in crate::method) fn order() -> MessageDescriptor {
        pool(SHOP).get_message_by_name("shop.Order").unwrap()
    }

    /// Returns the descriptors of one source file.
    pub(in crate::method) fn pool(source: &str) -> DescriptorPool {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("test.proto");
        fs::write(&file, source).unwrap();
        compile(&[file], &[]).unwrap()
    }

    #[test]
    fn imports_are_found_beside_the_file_or_in_the_given_folder() {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("api")).unwrap();
        let (service, types) =
            (folder.path().join("api/service.proto"), folder.path().join("api/types.proto"));
        fs::write(&types, "syntax = \"proto3\"; package t; message T {}").unwrap();
        let importing = |name: &str| {
            let source =
                format!("syntax = \"proto3\"; import \"{name}\"; service S {{ rpc M(t.T) returns (t.T); }}");
            fs::write(&service, source).unwrap();
        };
        importing("types.proto");
        assert!(compile(from_ref(&service), &[]).unwrap().get_service_by_name("S").is_some());
        importing("api/types.proto");
        assert!(compile(from_ref(&service), &[folder.path().into()]).is_ok());
        let sentence = compile(&[service], &[]).unwrap_err().to_string();
        assert!(sentence.contains("service.proto:1:20: import 'api/types.proto' not found"), "{sentence}");
        assert!(sentence.ends_with("--proto-path"), "{sentence}");
    }

    #[test]
    fn compile_error_names_the_line() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("wrong.proto");
        for (source, words) in [
            (
                &b"syntax = \"proto3\";\nmessage M { strin name = 1; }"[..],
                "wrong.proto:2:13: name 'strin' is not defined",
            ),
            (b"syntax = \"proto3\";\n\nmessage M {", "wrong.proto: expected"),
            (b"\xff", "utf-8"),
            (b"syntax = \"proto3\"; import \"wrong.proto\";", "cycle"),
        ] {
            fs::write(&file, source).unwrap();
            let sentence = compile(from_ref(&file), &[]).unwrap_err().to_string();
            assert!(sentence.contains(words) && sentence.lines().count() == 1, "{sentence}");
        }
        let sentence = compile(&["/nowhere.proto".into()], &[]).unwrap_err().to_string();
        assert!(sentence.contains("/nowhere.proto"), "{sentence}");
    }
}
