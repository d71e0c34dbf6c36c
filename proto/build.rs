//! Compiles the .proto files without `protoc`, and keeps their descriptors for server reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

/// The files of each server.
const SERVERS: [(&str, &[&str]); 2] = [
    ("greetings", &["hello.proto", "helloworld.proto", "echo.proto", "message.proto"]),
    ("ticketing", &["ticketing.proto"]),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut all = Vec::new();
    for (server, files) in SERVERS {
        let descriptors = protox::compile(files, ["proto"])?;
        let encoded = descriptors.encode_to_vec();
        fs::write(out.join(server).with_extension("binpb"), &encoded)?;
        // Encoded messages of one type merge when they are concatenated.
        all.extend(encoded);
        tonic_prost_build::configure().compile_fds(descriptors)?;
    }
    fs::write(out.join("all.binpb"), all)?;
    Ok(())
}
