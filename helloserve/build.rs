//! Puts the code that the gateway uses side by side in its file, see `used_code.ld`.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=used_code.ld");
    // The names and the linker's language are those of this platform; elsewhere the program is as good, and uses more
    // memory. A debug build is not measured by anybody.
    let is = |name, value: &str| var(name).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") && is("PROFILE", "release") {
        let folder = var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{folder}/used_code.ld");
    }
}
