//! Wishes and answers for tests.

use super::{Facts, Item, Reboot, State, Wish, record::Record};

/// The wish of a record in TOML.
pub fn wish(record: &str) -> Wish {
    Wish { user: None, key: None, reboot: Reboot::WhenNeeded, device: None, record: Record::parse(record).unwrap() }
}

/// These answers.
pub fn facts(answers: &[(&str, &str)]) -> Facts {
    answers.iter().fold(Facts::default(), |facts, (name, answer)| facts.with(name, Ok(answer)))
}

/// An item in a line: `what: ok`, `what: IS -> SHOULD`, `what? why`.
pub fn line(item: &Item) -> String {
    match &item.state {
        State::Ok => format!("{}: ok", item.what),
        State::Drifted { is, should } => format!("{}: {is} -> {should}", item.what),
        State::Unknown(why) => format!("{}? {why}", item.what),
    }
}

/// All of them.
pub fn lines(items: &[Item]) -> Vec<String> {
    items.iter().map(line).collect()
}
