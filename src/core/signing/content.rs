//! What a signature is over: the part of a manifest that never changes once it is published, as bytes.
//!
//! # Encoding
//!
//! JSON without white space, the keys in the order below, text as `serde_json` escapes it (only what JSON says must be), times in
//! RFC 3339, sizes as whole numbers of bytes. No fractions: they would not survive being read and written again.
//!
//! A key that came later is left out where there is nothing to say, so that what was signed before stays good. Another encoding
//! gets another `format`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::core::{
    hardware::Hardware,
    manifest::{CloneDefaults, IdentityMethod, Inputs, Manifest, OperatingSystem, Package, SourceFile},
    names::{TemplateName, Version},
    trust::Trust,
    units::ByteSize,
};

/// Names the encoding, and keeps a signature of something else from passing for one of a manifest.
const FORMAT: &str = "tpl-manifest-1";

#[derive(Serialize)]
struct Signed<'a> {
    format: &'static str,
    name: &'a TemplateName,
    version: &'a Version,
    created_at: Timestamp,
    digest: Option<&'a str>,
    virtual_size: ByteSize,
    pipeline_digest: &'a str,
    answers_digest: &'a str,
    sources: &'a [SourceFile],
    trust: &'a Trust,
    os: Option<&'a OperatingSystem>,
    packages: &'a [Package],
    identity: IdentityMethod,
    clone: &'a CloneDefaults,
    operations: &'a [String],
    invariants: &'a [String],
    tools: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hardware: Option<&'a Hardware>,
}

/// The bytes that a manifest's signature is over.
///
/// # Panics
/// Never: the types hold nothing that JSON cannot.
#[expect(clippy::expect_used, reason = "string keys and plain values always serialise")]
pub fn signed_bytes(manifest: &Manifest) -> Vec<u8> {
    // Taken apart by name, so that of a new field it has to be said whether it is signed.
    let Manifest {
        name,
        version,
        created_at,
        inputs: Inputs { pipeline_digest, answers_digest, sources },
        trust,
        digest,
        virtual_size,
        os,
        packages,
        identity,
        clone,
        operations,
        invariants,
        tools,
        hardware,
        // What happens to a published version.
        state: _,
        promoted_at: _,
        run: _,
        // Where it lies: elsewhere on another hypervisor.
        volumes: _,
        pool: _,
        // How long it took, in fractions of seconds: nothing of what it is.
        stages: _,
        signature: _,
    } = manifest;
    let signed = Signed {
        format: FORMAT,
        name,
        version,
        created_at: *created_at,
        digest: digest.as_deref(),
        virtual_size: *virtual_size,
        pipeline_digest,
        answers_digest,
        sources,
        trust,
        os: os.as_ref(),
        packages,
        identity: *identity,
        clone,
        operations,
        invariants,
        tools,
        hardware: hardware.as_ref(),
    };
    serde_json::to_vec(&signed).expect("a manifest serialises")
}
