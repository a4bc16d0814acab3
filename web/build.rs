//! A release carries the UI inside: build again when its files change. A debug build reads them from disk.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("PROFILE").as_deref() == Ok("release") {
        println!("cargo:rerun-if-changed=ui/dist");
    }
}
