//! The way through a document, one entry at a time.

use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::{
    Spanned,
    de::{DeArray, DeValue, Deserializer},
};

use super::of_toml;

/// A step from a table or list to what is in it.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// What the walk has found.
pub(super) struct Walk<'s> {
    schema: &'s Value,
    /// Byte offsets and messages.
    pub(super) faults: Vec<(usize, String)>,
    /// Where the table stands that has the key, and the path to the key.
    pub(super) unknown: Vec<(usize, Vec<Step>)>,
    /// Where values are wrong.
    pub(super) wrong: Vec<usize>,
}

impl<'s> Walk<'s> {
    /// Looks at a whole document that a type is to read, with the type's schema.
    pub(super) fn through<T: DeserializeOwned>(root: &Spanned<DeValue<'_>>, schema: &'s Value) -> Self {
        let mut walk = Self { schema, faults: Vec::new(), unknown: Vec::new(), wrong: Vec::new() };
        walk.enter::<T>(root, root, &mut Vec::new(), schema);
        walk
    }

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
                    self.enter::<T>(root, inner, path, of_key(&schema, key.get_ref()));
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
            *list = DeValue::Array(DeArray::new());
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

/// The schema's word on a key's value: a field's, or what a table of names has under each of them.
fn of_key<'v>(schema: &'v Value, key: &str) -> &'v Value {
    let by_pattern = || schema.get("patternProperties").and_then(Value::as_object).and_then(|patterns| patterns.values().next());
    schema["properties"].get(key).or_else(by_pattern).unwrap_or(&Value::Null)
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
