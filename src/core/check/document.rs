//! A TOML document of which every fault is wanted, not only the first.
//!
//! The types that read it say what is wrong, one entry at a time: each is put into a document that holds nothing else, and so
//! no fault hides the next. What is missing, which a type says only of the first, follows from the schema that is derived from
//! the same types.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer},
};

use crate::core::{
    error::{Finding, Invalid},
    schema,
    toml_text::position,
};

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

/// A step from a table or list to what is in it.
#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Index(usize),
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
        let mut walk = Walk { schema: &whole, faults: Vec::new(), unknown: Vec::new(), wrong: Vec::new() };
        let root = Spanned::new(self.root.span(), DeValue::Table(self.root.get_ref().clone()));
        walk.enter::<T>(&root, &root, &mut Vec::new(), &whole);
        let Walk { faults, unknown, wrong, .. } = walk;
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

    /// Whether the root has a key.
    pub fn has(&self, key: &str) -> bool {
        self.root.get_ref().contains_key(key)
    }

    /// Notes a fault at a key, `TABLE.KEY.INDEX`; where it does not stand there, at the table.
    pub fn add(&mut self, path: &str, message: impl Into<String>) {
        self.faults.push((self.place(path), message.into()));
    }

    /// Where a key stands: the byte offset; where it does not, that of the table. An element of a list is where its value is.
    fn place(&self, path: &str) -> usize {
        let mut place = self.root.span().start;
        let mut steps = path.split('.');
        let Some(first) = steps.next() else { return place };
        let Some((key, mut value)) = self.root.get_ref().get_key_value(first) else { return place };
        place = key.span().start;
        for step in steps {
            match value.get_ref() {
                DeValue::Table(table) => match table.get_key_value(step) {
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

struct Walk<'s> {
    schema: &'s Value,
    faults: Vec<(usize, String)>,
    /// Where the table stands that has the key, and the path to the key.
    unknown: Vec<(usize, Vec<Step>)>,
    wrong: Vec<usize>,
}

impl Walk<'_> {
    /// Looks at a value and all that is in it. `path` leads to it from the root; `schema` is the schema's word on it, null
    /// where it has none.
    fn enter<T: DeserializeOwned>(
        &mut self,
        root: &Spanned<DeValue<'_>>,
        value: &Spanned<DeValue<'_>>,
        path: &mut Vec<Step>,
        schema: &Value,
    ) {
        let schema = self.resolved(schema).clone();
        let is_object = schema.get("properties").is_some();
        match value.get_ref() {
            DeValue::Table(table) => {
                let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
                for key in required.filter(|key| !table.contains_key(*key)) {
                    self.faults.push((value.span().start, format!("missing field `{key}`")));
                    self.wrong.push(value.span().start);
                }
                for (key, inner) in table {
                    path.push(Step::Key(key.get_ref().to_string()));
                    self.enter::<T>(root, inner, path, schema["properties"].get(key.get_ref().as_ref()).unwrap_or(&Value::Null));
                    path.pop();
                }
                if table.is_empty() && !path.is_empty() {
                    self.try_alone::<T>(root, value, path);
                }
            }
            // serde would take a list for a table, its values in the order of the fields.
            DeValue::Array(_) if is_object => {
                self.faults.push((value.span().start, "invalid type: sequence, expected a table".to_owned()));
                self.wrong.push(value.span().start);
            }
            DeValue::Array(list) if !list.is_empty() => {
                if self.is_no_list::<T>(root, value, path) {
                    return;
                }
                for (index, inner) in list.iter().enumerate() {
                    path.push(Step::Index(index));
                    self.enter::<T>(root, inner, path, schema.get("items").unwrap_or(&Value::Null));
                    path.pop();
                }
            }
            _ => self.try_alone::<T>(root, value, path),
        }
    }

    /// Whether not even an empty list may stand there. Then that is noted.
    fn is_no_list<T: DeserializeOwned>(
        &mut self,
        root: &Spanned<DeValue<'_>>,
        value: &Spanned<DeValue<'_>>,
        path: &[Step],
    ) -> bool {
        let before = self.faults.len();
        let mut alone = alone(root, path);
        if let Some(list) = inside(&mut alone, path) {
            *list = DeValue::Array(toml::de::DeArray::new());
        }
        self.try_document::<T>(root, &alone, value, path);
        self.faults.len() > before
    }

    /// Reads a document in which the value stands alone.
    fn try_alone<T: DeserializeOwned>(&mut self, root: &Spanned<DeValue<'_>>, value: &Spanned<DeValue<'_>>, path: &[Step]) {
        self.try_document::<T>(root, &alone(root, path), value, path);
    }

    /// Reads a document that is nothing but the way to a value.
    fn try_document<T: DeserializeOwned>(
        &mut self,
        root: &Spanned<DeValue<'_>>,
        alone: &Spanned<DeValue<'_>>,
        value: &Spanned<DeValue<'_>>,
        path: &[Step],
    ) {
        let DeValue::Table(table) = alone.get_ref() else { return };
        let Err(error) = T::deserialize(Deserializer::from(Spanned::new(alone.span(), table.clone()))) else { return };
        let (mut offset, message) = of_toml(&error, value.span().start);
        // What a list's element says of itself is reported of the list, whose own faults have been looked for.
        if let (Some(Step::Index(_)), Some(span)) = (path.last(), error.span())
            && span.contains(&value.span().start)
        {
            offset = value.span().start;
        }
        // Of course: there is nothing else in it.
        if message.starts_with("missing field `") {
            return;
        }
        if message.starts_with("unknown field `") {
            self.unknown.extend(up_to(root, path, offset));
        } else {
            self.wrong.push(offset);
        }
        self.faults.push((offset, message));
    }

    fn resolved<'v>(&'v self, schema: &'v Value) -> &'v Value {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix("#/"));
        name.and_then(|name| self.schema.pointer(&format!("/{name}"))).unwrap_or(schema)
    }
}

/// A document in which only what the path leads to is left.
fn alone<'t>(value: &Spanned<DeValue<'t>>, path: &[Step]) -> Spanned<DeValue<'t>> {
    let inner = match (path.split_first(), value.get_ref()) {
        (Some((Step::Key(wanted), rest)), DeValue::Table(table)) => {
            let kept = table.get_key_value(wanted.as_str());
            DeValue::Table(kept.map(|(key, inner)| (key.clone(), alone(inner, rest))).into_iter().collect())
        }
        (Some((Step::Index(index), rest)), DeValue::Array(list)) => {
            DeValue::Array(list.get(*index).map(|inner| alone(inner, rest)).into_iter().collect())
        }
        (_, value) => value.clone(),
    };
    Spanned::new(value.span(), inner)
}

/// What a path leads to in a document that has nothing else.
fn inside<'d, 't>(value: &'d mut Spanned<DeValue<'t>>, path: &[Step]) -> Option<&'d mut DeValue<'t>> {
    let Some((_, rest)) = path.split_first() else { return Some(value.get_mut()) };
    match value.get_mut() {
        DeValue::Table(table) => inside(table.iter_mut().next()?.1, rest),
        DeValue::Array(list) => inside(list.iter_mut().next()?, rest),
        _ => None,
    }
}

/// The beginning of a path that ends with the key at an offset, and where the table stands that has it.
fn up_to(root: &Spanned<DeValue<'_>>, path: &[Step], offset: usize) -> Option<(usize, Vec<Step>)> {
    let mut value = root;
    for (index, step) in path.iter().enumerate() {
        match (step, value.get_ref()) {
            (Step::Key(wanted), DeValue::Table(table)) => {
                let (key, inner) = table.get_key_value(wanted.as_str())?;
                if key.span().start == offset {
                    return Some((value.span().start, path[..=index].to_vec()));
                }
                value = inner;
            }
            (Step::Index(index), DeValue::Array(list)) => value = list.get(*index)?,
            _ => return None,
        }
    }
    None
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
