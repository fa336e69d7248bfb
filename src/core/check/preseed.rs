//! Preseed: what debian-installer would not take, or would stop at. debconf-set-selections(1) has the format, the installation
//! guide's appendix B the questions.

use super::Fault;

/// The types that a question can have, of debconf-devel(7); and `seen`, which is written like one.
const TYPES: [&str; 10] = ["string", "boolean", "select", "multiselect", "password", "text", "note", "error", "title", "seen"];

/// A line, with those that continue it.
struct Line {
    number: usize,
    text: String,
}

/// What is wrong with a preseed file.
pub fn check(text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut powers_off = false;
    for line in lines(text, &mut faults) {
        powers_off |= one(&line, &mut faults);
    }
    if !powers_off {
        let message = "the machine is not powered off at the end: `d-i debian-installer/exit/poweroff boolean true` does that";
        faults.push(Fault::at(1, 1, message));
    }
    faults
}

/// Lines with a backslash at their end go on in the next one.
fn lines(text: &str, faults: &mut Vec<Fault>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let (part, more) = match line.strip_suffix('\\') {
            // A comment is one line, whatever stands at its end.
            Some(part) if goes_on || !line.trim_start().starts_with('#') => (part, true),
            _ => (line, false),
        };
        match lines.last_mut() {
            Some(last) if goes_on => last.text.push_str(part),
            _ => lines.push(Line { number: index + 1, text: part.to_owned() }),
        }
        goes_on = more;
    }
    if goes_on {
        let message = "the last line ends with a backslash, and nothing follows";
        faults.push(Fault::at(text.lines().count(), 1, message));
    }
    lines
}

/// Looks at one line. Whether it powers the machine off.
fn one(line: &Line, faults: &mut Vec<Fault>) -> bool {
    let indent = line.text.chars().take_while(|c| c.is_whitespace()).count();
    let text = line.text.trim();
    if text.is_empty() || text.starts_with('#') {
        return false;
    }
    let mut low = |message: String| faults.push(Fault::at(line.number, indent + 1, message));
    let mut words = text.split_whitespace();
    let (Some(owner), Some(question), Some(kind)) = (words.next(), words.next(), words.next()) else {
        low(format!(
            "{} is no line of a preseed: owner, question, type and value, as in `d-i time/zone string UTC`",
            short(text)
        ));
        return false;
    };
    let plain = |word: &str| word.chars().all(|c| c.is_ascii_alphanumeric() || "+-._/:".contains(c));
    if !plain(owner) || !plain(question) {
        low(format!("{} are no owner and question", short(&format!("{owner} {question}"))));
        return false;
    }
    if !TYPES.contains(&kind) {
        low(format!("{} is no type of a question: there are {}", short(kind), TYPES[..9].join(", ")));
        return false;
    }
    let value = words.next();
    if matches!(kind, "boolean" | "seen") && !matches!(value, Some("true" | "false")) {
        low(format!("{question} is true or false"));
    }
    if kind == "password" && value.is_some() && !question.ends_with("-crypted") && !question.ends_with("-again") {
        low(format!("{question} has a password as it is: {question}-crypted takes its hash, and anybody could read this"));
    }
    let (exit, on) = ("debian-installer/exit/", value == Some("true"));
    if question == "debian-installer/exit/halt" && on {
        low("a machine that is halted and not powered off never ends its installation: use debian-installer/exit/poweroff".into());
    }
    question.strip_prefix(exit) == Some("poweroff") && on
}

fn short(text: &str) -> String {
    format!("{:?}", text.chars().take(60).collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    fn said(text: &str) -> Vec<(usize, usize, String)> {
        check(text).into_iter().map(|fault| (fault.line, fault.column, fault.message)).collect()
    }

    #[test]
    fn what_debconf_takes_passes() {
        let text = "# a comment \\\n\nd-i a/b string\nd-i a/c string one two \\\n  three; # four \\\n  five\n\td-i x note\n\
                    openssh-server a/b boolean true\nd-i a/b seen false\nd-i debian-installer/exit/poweroff boolean true\n";
        assert_eq!(said(text), []);
    }

    #[test]
    fn each_fault_has_its_line() {
        let off = "d-i debian-installer/exit/poweroff boolean true\n";
        let table = [
            (
                "d-i a/b\n",
                1,
                "\"d-i a/b\" is no line of a preseed: owner, question, type and value, as in `d-i time/zone string UTC`",
            ),
            (
                "\n  d-i a/b strin x\n",
                2,
                "\"strin\" is no type of a question: there are string, boolean, select, multiselect, password, text, note, error, title",
            ),
            ("d-i a/b string x \\\n y\nd-i a/c boolean yes\n", 3, "a/c is true or false"),
            ("d-i a;b string x\n", 1, "\"d-i a;b\" are no owner and question"),
            (
                "d-i debian-installer/exit/halt boolean true\n",
                1,
                "a machine that is halted and not powered off never ends its installation: use debian-installer/exit/poweroff",
            ),
        ];
        for (text, line, message) in table {
            let faults = check(&format!("{text}{off}"));
            let shown: Vec<_> = faults.iter().map(|fault| (fault.line, fault.message.as_str())).collect();
            assert_eq!(shown, [(line, message)]);
        }
        assert_eq!(
            said("d-i a/b string x\\\n"),
            [
                (1, 1, "the last line ends with a backslash, and nothing follows".to_owned()),
                (
                    1,
                    1,
                    "the machine is not powered off at the end: `d-i debian-installer/exit/poweroff boolean true` does that"
                        .to_owned()
                )
            ]
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), words in "([a-z/ \\\\#\n]|boolean|true){0,80}") {
            check(&text);
            check(&words);
        }
    }
}
