//! What a machine has said, as people may read it: whatever it is, it stays on its line, and short.

/// So long may a name be that a machine has given.
const LONGEST: usize = 120;

/// A text on one line, without what a terminal would act on.
pub fn plain(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).take(LONGEST).collect();
    if line.chars().count() > LONGEST {
        shown.push('…');
    }
    shown
}

/// The first five of some names, and how many more there are.
pub fn some_of<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 5;
    let first: Vec<String> = names.iter().take(SHOWN).map(|name| plain(name.as_ref())).collect();
    match names.len() {
        0..=SHOWN => first.join(", "),
        count => format!("{} and {} more", first.join(", "), count - SHOWN),
    }
}

/// `1 package`, `2 packages`.
pub fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// What stands behind a key, on lines of `KEY VALUE` each.
pub fn value<'a>(lines: &'a str, key: &str) -> Option<&'a str> {
    values(lines, key).next()
}

/// All that stands behind a key.
pub fn values<'a>(lines: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    lines.lines().filter_map(move |line| {
        let (found, value) = line.split_once(' ').unwrap_or((line, ""));
        (found == key).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_line() {
        let long = "x".repeat(500);
        let table =
            [("", ""), ("  a\tb\r\nc ", "a b c"), ("\u{1b}[31mred\u{7}", "?[31mred?"), (&long, &format!("{}…", "x".repeat(120)))];
        for (text, expected) in table {
            assert_eq!(plain(text), expected);
        }
    }

    #[test]
    fn few_names_and_many() {
        let table: [(&[&str], &str); 3] =
            [(&[], ""), (&["a", "b\u{1b}"], "a, b?"), (&["a", "b", "c", "d", "e", "f", "g"], "a, b, c, d, e and 2 more")];
        for (names, expected) in table {
            assert_eq!(some_of(names), expected);
        }
        assert_eq!((count(1, "CPU"), count(0, "CPU")), ("1 CPU".to_owned(), "0 CPUs".to_owned()));
    }

    #[test]
    fn what_stands_behind_a_key() {
        let lines = "a 1\nab 2\nb\na  3 4 \n";
        assert_eq!(values(lines, "a").collect::<Vec<_>>(), ["1", "3 4"]);
        assert_eq!((value(lines, "b"), value(lines, "c")), (Some(""), None));
    }
}
