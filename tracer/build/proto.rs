//! Compiles `proto/tracer/v1/tracer.proto` with protox, so the build needs no protoc.

use std::env;

const FILE: &str = "proto/tracer/v1/tracer.proto";

/// Writes `tracer.v1.rs` to `OUT_DIR`: the messages, and the client and server stubs that the features call
/// for.
pub fn compile() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build/proto.rs");
    println!("cargo::rerun-if-changed={FILE}");
    let descriptors = protox::compile([FILE], ["proto"]).map_err(|error| format!("{error:?}"))?;
    let client = env::var_os("CARGO_FEATURE_CLIENT").is_some();
    tonic_prost_build::configure()
        .build_client(client)
        .build_transport(client)
        .build_server(crate::has_agent())
        .compile_fds(descriptors)
        .map_err(|error| format!("cannot generate Rust code from {FILE}: {error}"))
}
