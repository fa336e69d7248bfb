//! A TOML document of which every fault is wanted, not only the first.
//!
//! The types that read it say what is wrong, one entry at a time: each is put into a document that holds nothing else, and so
//! no fault hides the next. What is missing, which a type says only of the first, follows from the schema that is derived from
//! the same types.

mod walk;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer},
};

use crate::core::{
    error::{Finding, Invalid},
    schema,
    toml_text::position,
};
use walk::{Step, Walk};

/// A document, parsed.
pub struct Document<'t> {
    file: &'t str,
    text: &'t str,
    root: Spanned<DeTable<'t>>,
    faults: Vec<(usize, String)>,
    /// Where values are wrong: byte offsets.
    wrong: Vec<usize>,
    /// Where keys stood that nobody knows.
    unknown: Vec<usize>,
}

impl<'t> Document<'t> {
    /// Parses a text. `file` names it in findings.
    ///
    /// # Errors
    /// It is no TOML.
    pub fn parse(file: &'t str, text: &'t str) -> Result<Self, Invalid> {
        match DeTable::parse(text) {
            Ok(root) => Ok(Self { file, text, root, faults: Vec::new(), wrong: Vec::new(), unknown: Vec::new() }),
            Err(error) => {
                let (offset, message) = of_toml(&error, 0);
                let (line, column) = position(text, offset);
                Err(Invalid::at(file, line, column, message))
            }
        }
    }

    /// Notes everything in it that the type does not take.
    pub fn check<T: DeserializeOwned + JsonSchema>(&mut self) {
        let whole = schema::of::<T>();
        let root = Spanned::new(self.root.span(), DeValue::Table(self.root.get_ref().clone()));
        let Walk { faults, unknown, wrong, .. } = Walk::through::<T>(&root, &whole);
        self.faults.extend(faults);
        self.wrong.extend(wrong);
        // A key that nobody knows takes nothing from the others.
        for (table, path) in unknown {
            self.unknown.push(table);
            remove(self.root.get_mut(), &path);
        }
    }

    /// What stands under a key of the root, if it is there and nothing in it is wrong or missing.
    pub fn part<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let value = self.root.get_ref().get(key)?;
        let span = value.span();
        // A value's own span ends before what [TABLE] headers add to it: what is inside is asked for.
        if self.wrong.iter().any(|offset| span.contains(offset)) || holds(value, &self.wrong) {
            return None;
        }
        T::deserialize(toml::de::ValueDeserializer::from(value.clone())).ok()
    }

    /// The same, where each key of it is known too: one that is misspelt is missing in another place.
    pub fn whole_part<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let at = self.root.get_ref().get(key)?.span().start;
        self.part(key).filter(|_| !self.unknown.contains(&at))
    }

    /// Those tables under a key of the root in which nothing is wrong or missing, by their names.
    pub fn entries<T: DeserializeOwned>(&self, key: &str) -> Vec<(String, T)> {
        let Some(DeValue::Table(table)) = self.root.get_ref().get(key).map(Spanned::get_ref) else { return Vec::new() };
        let sound = table.iter().filter(|(name, value)| !self.wrong.contains(&name.span().start) && !holds(value, &self.wrong));
        let read = |value: &Spanned<DeValue<'t>>| T::deserialize(toml::de::ValueDeserializer::from(value.clone())).ok();
        sound.filter_map(|(name, value)| Some((name.get_ref().to_string(), read(value)?))).collect()
    }

    /// Whether the root has a key.
    pub fn has(&self, key: &str) -> bool {
        self.root.get_ref().contains_key(key)
    }

    /// Notes a fault at a key, `TABLE.KEY.INDEX`; where it does not stand there, at the table.
    pub fn add(&mut self, path: &str, message: impl Into<String>) {
        self.add_at(&path.split('.').collect::<Vec<_>>(), message);
    }

    /// The same where names can have dots in them.
    pub fn add_at(&mut self, path: &[&str], message: impl Into<String>) {
        self.faults.push((self.place(path), message.into()));
    }

    /// Where a key stands: the byte offset; where it does not, that of the table. An element of a list is where its value is.
    fn place(&self, path: &[&str]) -> usize {
        let mut place = self.root.span().start;
        let Some((first, steps)) = path.split_first() else { return place };
        let Some((key, mut value)) = self.root.get_ref().get_key_value(*first) else { return place };
        place = key.span().start;
        for step in steps {
            match value.get_ref() {
                DeValue::Table(table) => match table.get_key_value(*step) {
                    Some((key, inner)) => (place, value) = (key.span().start, inner),
                    None => return value.span().start,
                },
                DeValue::Array(list) => match step.parse::<usize>().ok().and_then(|index| list.get(index)) {
                    Some(inner) => (place, value) = (inner.span().start, inner),
                    None => return place,
                },
                _ => return place,
            }
        }
        place
    }

    /// All that has been noted, in the order of the text; else the document as its type reads it.
    ///
    /// # Errors
    /// [`Invalid`] with every fault.
    pub fn read<T: DeserializeOwned>(mut self) -> Result<T, Invalid> {
        if self.faults.is_empty() {
            match T::deserialize(Deserializer::from(self.root)) {
                Ok(value) => return Ok(value),
                Err(error) => self.faults.push(of_toml(&error, 0)),
            }
        }
        Err(Invalid { findings: findings(self.file, self.text, self.faults) })
    }

    /// All that has been noted, in the order of the text.
    pub fn findings(self) -> Vec<Finding> {
        findings(self.file, self.text, self.faults)
    }
}

/// The place of a key in a text that was parsed before, as a finding.
pub fn finding(file: &str, text: &str, path: &str, message: &str) -> Invalid {
    match Document::parse(file, text) {
        Ok(mut document) => {
            document.add(path, message);
            Invalid { findings: document.findings() }
        }
        Err(invalid) => invalid,
    }
}

fn findings(file: &str, text: &str, mut faults: Vec<(usize, String)>) -> Vec<Finding> {
    faults.sort();
    faults.dedup();
    let finding = |(offset, message)| Finding { file: Some(file.to_owned()), at: Some(position(text, offset)), message };
    faults.into_iter().map(finding).collect()
}

fn of_toml(error: &toml::de::Error, otherwise: usize) -> (usize, String) {
    (error.span().map_or(otherwise, |span| span.start), error.message().trim_end().replace('\n', ", "))
}

fn remove(table: &mut DeTable<'_>, path: &[Step]) {
    let Some((Step::Key(key), rest)) = path.split_first() else { return };
    if rest.is_empty() {
        table.remove(key.as_str());
    } else if let Some(inner) = table.get_mut(key.as_str()) {
        remove_in(inner.get_mut(), rest);
    }
}

fn remove_in(value: &mut DeValue<'_>, path: &[Step]) {
    match (value, path.first()) {
        (DeValue::Table(table), _) => remove(table, path),
        (DeValue::Array(list), Some(Step::Index(index))) => {
            if let Some(inner) = list.get_mut(*index) {
                remove_in(inner.get_mut(), &path[1..]);
            }
        }
        _ => {}
    }
}

/// Whether one of the offsets is a value's own, or of something in it.
fn holds(value: &Spanned<DeValue<'_>>, offsets: &[usize]) -> bool {
    offsets.contains(&value.span().start)
        || match value.get_ref() {
            DeValue::Table(table) => {
                table.iter().any(|(key, inner)| offsets.contains(&key.span().start) || holds(inner, offsets))
            }
            DeValue::Array(list) => list.iter().any(|inner| holds(inner, offsets)),
            _ => false,
        }
}

#[cfg(test)]
mod tests;
