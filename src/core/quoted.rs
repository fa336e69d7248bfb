//! What somebody wrote, as an error may show it.

/// At most 80 characters of a text in quotes, without what a terminal would act on: newlines and control characters are escaped.
pub fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}
