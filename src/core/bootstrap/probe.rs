//! Questions to a machine, and its answers: all of them in one call.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::core::quoted::quoted;

/// A question to a machine: a script whose output is the answer. It changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What it asks; a word of letters, digits, `-` and `.`, one of a kind over all phases: `kvm.pool`.
    pub name: String,
    /// For the machine's POSIX shell, with `arguments` from `$1` on.
    pub script: &'static str,
    /// Data, never a part of the script.
    pub arguments: Vec<String>,
}

impl Probe {
    /// A question without arguments.
    pub fn new(name: &str, script: &'static str) -> Self {
        Self::with(name, script, &[])
    }

    /// A question about something.
    pub fn with(name: &str, script: &'static str, arguments: &[&str]) -> Self {
        Self { name: name.to_owned(), script, arguments: arguments.iter().map(|word| (*word).to_owned()).collect() }
    }

    /// What a file holds; no answer where there is none.
    pub fn file(name: &str, path: &str) -> Self {
        Self::with(name, "[ -e \"$1\" ] || exit 1; cat \"$1\"", &[path])
    }
}

/// A machine's answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts(BTreeMap<String, Result<String, String>>);

/// Asks the questions that its arguments are, five each: `NAME SCRIPT ARGUMENT ARGUMENT ARGUMENT`. Prints a line for each: name, exit
/// code, output and standard error in base64. A question that does not end is given up.
pub const ASK: &str = r#"export LC_ALL=C
umask 077
folder=$(mktemp -d) || exit
trap 'rm -rf "$folder"' EXIT
while [ $# -ge 5 ]; do
  timeout -k 5 120 sh -c "$2" sh "$3" "$4" "$5" </dev/null >"$folder/out" 2>"$folder/err"
  printf '%s %s %s. %s.\n' "$1" "$?" "$(head -c 1000000 "$folder/out" | base64 | tr -d '\n')" "$(tail -c 500 "$folder/err" | base64 | tr -d '\n')"
  shift 5
done"#;

/// So many arguments has a question.
const ARGUMENTS: usize = 3;

/// The words behind [`ASK`].
pub fn words(probes: &[Probe]) -> Vec<String> {
    let one = |probe: &Probe| {
        let mut words = vec![probe.name.clone(), probe.script.to_owned()];
        words.extend((0..ARGUMENTS).map(|index| probe.arguments.get(index).cloned().unwrap_or_default()));
        words
    };
    probes.iter().flat_map(one).collect()
}

impl Facts {
    /// Reads what [`ASK`] has printed to these questions.
    ///
    /// # Errors
    /// A line that is none, an answer to another question or none to one of these.
    pub fn parse(probes: &[Probe], text: &str) -> Result<Self, String> {
        let mut facts = Self::default();
        for (line, probe) in text.lines().zip(probes) {
            let (name, answer) = answer(line).ok_or_else(|| format!("an answer was not understood: {}", quoted(line)))?;
            if name != probe.name {
                return Err(format!("{} was asked for, and {} was answered", probe.name, quoted(name)));
            }
            facts.0.insert(name.to_owned(), answer);
        }
        match probes.get(facts.0.len()) {
            None => Ok(facts),
            Some(probe) => Err(format!("{} was not answered", probe.name)),
        }
    }

    /// The answer to a question, if there was one, without the newline at its end.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_deref().ok().map(|text| text.strip_suffix('\n').unwrap_or(text))
    }

    /// The answer with all of its newlines: what a file holds, byte for byte.
    pub fn whole(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_deref().ok()
    }

    /// Whether the answer is `yes`.
    pub fn is_yes(&self, name: &str) -> bool {
        self.get(name) == Some("yes")
    }

    /// Why there is no answer; empty where nothing was said.
    pub fn why_not(&self, name: &str) -> &str {
        self.0.get(name).and_then(|answer| answer.as_ref().err()).map_or("it was not asked", String::as_str)
    }

    /// The same with an answer of another kind.
    pub fn with(mut self, name: &str, answer: Result<&str, &str>) -> Self {
        self.0.insert(name.to_owned(), answer.map(str::to_owned).map_err(str::to_owned));
        self
    }

    /// Puts in all answers of another time; they go before what is here.
    pub fn update(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// A line of [`ASK`]'s: the name, and the output, or where the script failed the end of what it said.
fn answer(line: &str) -> Option<(&str, Result<String, String>)> {
    let mut words = line.split(' ');
    let (name, code, out, err) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    let decoded = |word: &str| BASE64_STANDARD.decode(word.strip_suffix('.')?).ok();
    let (out, err) = (decoded(out)?, decoded(err)?);
    let code: u8 = code.parse().ok()?;
    let answer = match (code, String::from_utf8(out)) {
        (0, Ok(out)) => Ok(out),
        // A file that is no text is not ours to rewrite: as good as one that cannot be read.
        (0, Err(_)) => Err("it is no UTF-8".to_owned()),
        (code, _) => {
            let said = String::from_utf8_lossy(&err).trim().replace(|c: char| c.is_control() && c != '\n', " ");
            Err(if said.is_empty() { format!("exit code {code}") } else { said })
        }
    };
    Some((name, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_answer_is_refused() {
        let probes = [Probe::new("a", "true"), Probe::new("b", "true")];
        let table = [
            ("", "a was not answered"),
            ("a 0 . .\n", "b was not answered"),
            ("a 0 . .\nc 0 . .\n", "b was asked for, and \"c\" was answered"),
            ("a 0 .\n", "an answer was not understood: \"a 0 .\""),
            ("a 0 ! .\n", "an answer was not understood: \"a 0 ! .\""),
            ("a 0 aGk=. . x\n", "an answer was not understood: \"a 0 aGk=. . x\""),
            ("a 300 . .\n", "an answer was not understood: \"a 300 . .\""),
        ];
        for (text, expected) in table {
            assert_eq!(Facts::parse(&probes, text).unwrap_err(), expected);
        }
    }
}
