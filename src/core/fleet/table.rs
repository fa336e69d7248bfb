//! TOML tables that hold a VM's specification beside keys of their own, at one level. serde's `flatten` would take unknown keys
//! silently and lose the places of faults; here a table is read key by key, and every fault is kept with its place.

use serde::{
    Deserialize,
    de::{DeserializeOwned, Deserializer, Visitor, value::Error as ValueError},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer as TableDeserializer, ValueDeserializer},
};

use crate::core::{
    error::{Finding, Invalid},
    toml_text::position,
    vm_spec::VmSpec,
};

/// What is wrong in a text: byte offsets and messages.
#[derive(Default)]
pub(super) struct Faults(Vec<(usize, String)>);

impl Faults {
    pub(super) fn add(&mut self, offset: usize, message: impl Into<String>) {
        self.0.push((offset, message.into()));
    }

    /// Nothing, or all of them, in the order of the text.
    pub(super) fn end(mut self, file: &str, text: &str) -> Result<(), Invalid> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort_by_key(|(offset, _)| *offset);
        let finding = |(offset, message): (usize, String)| Finding {
            file: Some(file.to_owned()),
            at: Some(position(text, offset)),
            message,
        };
        Err(Invalid { findings: self.0.into_iter().map(finding).collect() })
    }

    pub(super) fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    fn add_toml(&mut self, error: &toml::de::Error, otherwise: usize) {
        self.0.push(of_toml(error, otherwise));
    }
}

fn of_toml(error: &toml::de::Error, otherwise: usize) -> (usize, String) {
    (error.span().map_or(otherwise, |span| span.start), error.message().trim_end().replace('\n', ", "))
}

/// A value, and where it stands: the byte offset.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub(super) at: usize,
    pub(super) value: T,
}

/// A table that is being read.
pub(super) struct Table<'t> {
    /// Where it begins.
    pub(super) at: usize,
    entries: DeTable<'t>,
}

impl<'t> Table<'t> {
    /// A whole document.
    ///
    /// # Errors
    /// It is no TOML.
    pub(super) fn parse(file: &str, text: &'t str) -> Result<Self, Invalid> {
        match DeTable::parse(text) {
            Ok(table) => Ok(Self { at: table.span().start, entries: table.into_inner() }),
            Err(error) => {
                let (offset, message) = of_toml(&error, 0);
                let (line, column) = position(text, offset);
                Err(Invalid::at(file, line, column, message))
            }
        }
    }

    fn of(value: Spanned<DeValue<'t>>, faults: &mut Faults) -> Option<Self> {
        let at = value.span().start;
        match value.into_inner() {
            DeValue::Table(entries) => Some(Self { at, entries }),
            _ => {
                faults.add(at, "a table belongs here");
                None
            }
        }
    }

    /// Where the value of a key stands, while it is not taken.
    pub(super) fn place(&self, key: &str) -> usize {
        self.entries.get(key).map_or(self.at, |value| value.span().start)
    }

    pub(super) fn is_without(&self, key: &str) -> bool {
        !self.entries.contains_key(key)
    }

    /// Takes a key out.
    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &str, faults: &mut Faults) -> Option<Placed<T>> {
        let value = self.entries.remove(key)?;
        let at = value.span().start;
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some(Placed { at, value }),
            Err(error) => {
                faults.add_toml(&error, at);
                None
            }
        }
    }

    /// Takes a key out, and reads its text.
    pub(super) fn read<T: std::str::FromStr<Err = String>>(&mut self, key: &str, faults: &mut Faults) -> Option<Placed<T>> {
        let text = self.take::<String>(key, faults)?;
        match text.value.parse() {
            Ok(value) => Some(Placed { at: text.at, value }),
            Err(reason) => {
                faults.add(text.at, reason);
                None
            }
        }
    }

    /// Takes a key out that holds tables with names, in the order in which they stand in the text.
    pub(super) fn named(&mut self, key: &str, faults: &mut Faults) -> Vec<(Placed<String>, Table<'t>)> {
        let Some(table) = self.entries.remove(key).and_then(|value| Self::of(value, faults)) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (name, value) in table.entries {
            let name = Placed { at: name.span().start, value: name.into_inner().into_owned() };
            found.extend(Self::of(value, faults).map(|table| (name, table)));
        }
        found.sort_by_key(|(name, _)| name.at);
        found
    }

    /// Takes a key out that holds a list of tables.
    pub(super) fn list(&mut self, key: &str, faults: &mut Faults) -> Vec<Table<'t>> {
        let Some(value) = self.entries.remove(key) else { return Vec::new() };
        let at = value.span().start;
        let DeValue::Array(array) = value.into_inner() else {
            faults.add(at, format!("a list of tables belongs here: write [[{key}]]"));
            return Vec::new();
        };
        array.iter().filter_map(|value| Self::of(value.clone(), faults)).collect()
    }

    /// Takes a key out that holds a table.
    pub(super) fn inner(&mut self, key: &str, faults: &mut Faults) -> Option<Table<'t>> {
        self.entries.remove(key).and_then(|value| Self::of(value, faults))
    }

    /// The rest is a specification. `own` are the keys that may stand here besides, and have been taken.
    pub(super) fn spec(self, own: &[&str], faults: &mut Faults) -> VmSpec {
        let (at, known) = (self.at, fields::<VmSpec>());
        let mut faulty = false;
        for (key, value) in &self.entries {
            let place = key.span();
            if !known.contains(&key.get_ref().as_ref()) {
                faults.add(place.start, unknown(key.get_ref(), own.iter().chain(known)));
                faulty = true;
                continue;
            }
            // Each key by itself: one fault must not hide the next.
            let alone: DeTable<'_> = std::iter::once((key.clone(), value.clone())).collect();
            if let Err(error) = VmSpec::deserialize(TableDeserializer::from(Spanned::new(place.clone(), alone))) {
                faults.add_toml(&error, place.start);
                faulty = true;
            }
        }
        if faulty {
            return VmSpec::default();
        }
        VmSpec::deserialize(TableDeserializer::from(Spanned::new(at..at, self.entries))).unwrap_or_else(|error| {
            faults.add_toml(&error, at);
            VmSpec::default()
        })
    }

    /// Nothing else may stand here. `own` are the keys that may, and have been taken.
    pub(super) fn end(self, own: &[&str], faults: &mut Faults) {
        for key in self.entries.keys() {
            faults.add(key.span().start, unknown(key.get_ref(), own.iter()));
        }
    }
}

fn unknown<'k>(key: &str, known: impl Iterator<Item = &'k &'k str>) -> String {
    let known: Vec<String> = known.map(|key| format!("`{key}`")).collect();
    let key: String = key.chars().take(80).collect();
    format!("unknown field `{}`, expected one of {}", key.escape_debug(), known.join(", "))
}

/// The fields that a struct reads: what its derive tells a deserializer.
fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Listener<'f>(&'f mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Listener<'_> {
        type Error = ValueError;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ValueError> {
            Err(serde::de::Error::custom("this only listens"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, ValueError> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq
            tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut fields: &'static [&'static str] = &[];
    let _ = T::deserialize(Listener(&mut fields));
    fields
}
