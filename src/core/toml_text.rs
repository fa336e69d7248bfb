//! TOML with findings that have a line and a column.

use serde::de::DeserializeOwned;

use super::{check::document, error::Invalid};

/// Reads a TOML document. `file` names it in errors.
///
/// # Errors
/// [`Invalid`] at the first fault; [`document::Document`] finds all of them.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Invalid> {
    toml::from_str(text).map_err(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        Invalid::at(file, line, column, error.message().trim_end().replace('\n', ", "))
    })
}

/// A finding at a key, `TABLE.KEY`; where it does not stand there, at the table.
pub fn invalid_at_key(file: &str, text: &str, key: &str, message: &str) -> Invalid {
    document::finding(file, text, key, message)
}

/// Line and column, both from 1, of a byte offset.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let start = before.rfind('\n').map_or(0, |index| index + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}
