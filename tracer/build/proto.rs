//! Makes Rust of `proto/tracer/v1/tracer.proto`, without a protoc installed: protox reads the file.

const FILE: &str = "proto/tracer/v1/tracer.proto";

/// Leaves `tracer.v1.rs` in `OUT_DIR`.
pub fn compile() -> Result<(), String> {
    println!("cargo::rerun-if-changed={FILE}");
    let described = protox::compile([FILE], ["proto"]).map_err(|error| format!("{error:?}"))?;
    tonic_prost_build::configure()
        .compile_fds(described)
        .map_err(|error| format!("cannot make Rust of {FILE}: {error}"))
}
