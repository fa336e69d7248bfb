//! Stub.
use super::reached::Reached;
use crate::{cli::LoginArgs, core::ssh_key::PublicKey, host::machine::Machine};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
/// Stub.
pub struct OwnKey {
    /// Key.
    pub public: PublicKey,
    /// File.
    pub file: PathBuf,
}
/// Stub.
pub fn own_key(_file: Option<&Path>) -> Result<OwnKey> {
    bail!("stub")
}
/// Stub.
pub fn connect(_: &Reached, _: &LoginArgs, _: Option<&OwnKey>, _: Option<&Path>) -> Result<Box<dyn Machine>> {
    bail!("stub")
}
/// Stub.
pub fn this_machine() -> Result<Box<dyn Machine>> {
    bail!("stub")
}
