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

/// A finding about the value of `key`, `TABLE.KEY` for one in a table, at the line that sets it; where none does, at the table.
pub fn invalid_at_key(file: &str, text: &str, key: &str, message: &str) -> Invalid {
    let (wanted, key) = key.rsplit_once('.').unwrap_or(("", key));
    let mut table = "";
    let mut header = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            table = name.0.trim();
            header = header.or((table == wanted).then_some(index + 1));
        } else if table == wanted && line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('=')) {
            return Invalid::at(file, index + 1, 1, message);
        }
    }
    match header {
        Some(line) => Invalid::at(file, line, 1, message),
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
