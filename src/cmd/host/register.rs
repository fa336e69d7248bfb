//! Stub.
use super::{connect::OwnKey, reached::Reached};
use crate::{
    cli::Global,
    core::bootstrap::{Item, Wish},
};
use anyhow::Result;
/// Stub.
pub fn run(_: &Global, _: &Reached, _: &OwnKey, _: &Wish, _: bool) -> Result<Vec<String>> {
    Ok(vec![])
}
/// Stub.
pub fn item(_: &Reached, _: &Wish) -> Item {
    Item::holds("register", true, "", "", vec![])
}
