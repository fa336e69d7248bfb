//! TOML with findings that have a line and a column.

use serde::de::DeserializeOwned;

use super::error::Invalid;

/// Reads a TOML document. `file` names it in errors.
///
/// # Errors
/// [`Invalid`] at the first fault.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Invalid> {
    toml::from_str(text).map_err(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        Invalid::at(file, line, column, error.message().trim_end().replace('\n', ", "))
    })
}

/// A finding about the value of `key`, at the first line that sets it.
pub fn invalid_at_key(file: &str, text: &str, key: &str, message: &str) -> Invalid {
    let sets = |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
    match text.lines().position(sets) {
        Some(index) => Invalid::at(file, index + 1, 1, message),
        None => Invalid::file(file, message),
    }
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
