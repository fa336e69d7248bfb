//! The JSON Schema of a fleet's file. A table holds a VM's specification beside keys of its own, which no derive can tell; the
//! tests hold the keys here against those that the reader takes.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::core::{
    names::{NamePattern, TemplateRef, VmName},
    numbers::Numbers,
    pipeline::PlainText,
    schema::{of, titled},
    vm_spec::{Label, VmSpec},
};

/// The schema of a fleet's file.
pub fn schema() -> Value {
    let mut spec = of::<VmSpec>();
    let mut definitions = take_object(&mut spec, "$defs");
    let mut text = |name: &str, schema: Value| {
        definitions.insert(name.to_owned(), without_dialect(schema));
        json!({ "$ref": format!("#/$defs/{name}") })
    };
    let template = text("TemplateRef", one::<TemplateRef>());
    let (label, name) = (text("Label", one::<Label>()), text("VmName", one::<VmName>()));
    let (numbers, pattern) = (text("Numbers", one::<Numbers>()), text("NamePattern", one::<NamePattern>()));
    let description = text("PlainText", one::<PlainText>());
    let group = table(
        &spec,
        json!({
            "template": said(&template, "the template of these VMs"),
            "count": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "so many VMs, with numbers from 1"},
            "names": {"type": "array", "items": name, "minItems": 1, "description": "the names of the VMs"},
            "numbers": said(&numbers, "these numbers, as in 3,7-9"),
            "name": said(&pattern, "how the names are made of numbers; else the group's name with the number behind it"),
        }),
        &[],
    );
    let single = table(
        &spec,
        json!({
            "name": said(&name, "the VM's name"),
            "template": said(&template, "the template of this VM"),
            "group": said(&label, "the group whose defaults and addresses it takes"),
        }),
        &["name"],
    );
    definitions.extend([
        ("Group".to_owned(), group),
        ("Single".to_owned(), single),
        ("Defaults".to_owned(), without_dialect(spec)),
    ]);
    titled(
        "a fleet of tpl, fleets/NAME.toml",
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "description": said(&description, "one line for people"),
                "template": said(&template, "the template of all VMs that name no other"),
                "defaults": {"$ref": "#/$defs/Defaults", "description": "what is asked of every VM"},
                "groups": {
                    "type": "object",
                    "propertyNames": label,
                    "additionalProperties": {"$ref": "#/$defs/Group"},
                    "description": "VMs that are alike, [groups.NAME]",
                },
                "vms": {"type": "array", "items": {"$ref": "#/$defs/Single"}, "description": "single VMs, [[vms]]"},
            },
            "$defs": definitions,
        }),
    )
}

/// A text's schema alone.
fn one<T: JsonSchema>() -> Value {
    of::<T>()
}

fn said(reference: &Value, description: &str) -> Value {
    let mut said = reference.clone();
    if let Value::Object(parts) = &mut said {
        parts.insert("description".to_owned(), json!(description));
    }
    said
}

/// A table with the keys of a specification and some of its own.
fn table(spec: &Value, own: Value, required: &[&str]) -> Value {
    let mut table = without_dialect(spec.clone());
    if let (Some(Value::Object(properties)), Value::Object(own)) = (table.get_mut("properties"), own) {
        properties.extend(own);
    }
    if let Value::Object(parts) = &mut table {
        parts.remove("description");
        if !required.is_empty() {
            parts.insert("required".to_owned(), json!(required));
        }
    }
    table
}

fn without_dialect(mut schema: Value) -> Value {
    if let Value::Object(parts) = &mut schema {
        parts.remove("$schema");
        parts.remove("title");
    }
    schema
}

fn take_object(schema: &mut Value, key: &str) -> Map<String, Value> {
    match schema.as_object_mut().and_then(|parts| parts.remove(key)) {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::core::fleet::{GROUP, ROOT, SINGLE};

    /// The keys of a table.
    fn keys(schema: &Value, pointer: &str) -> BTreeSet<String> {
        schema.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_keys_are_those_that_the_reader_takes() {
        let (fleet, spec) = (schema(), keys(&of::<VmSpec>(), "/properties"));
        assert!(spec.contains("vcpus"));
        let with = |own: &[&str]| -> BTreeSet<String> { own.iter().map(|key| (*key).to_owned()).chain(spec.clone()).collect() };
        assert_eq!(keys(&fleet, "/properties"), ROOT.iter().map(|key| (*key).to_owned()).collect());
        assert_eq!(keys(&fleet, "/$defs/Group/properties"), with(&GROUP));
        assert_eq!(keys(&fleet, "/$defs/Single/properties"), with(&SINGLE));
        assert_eq!(keys(&fleet, "/$defs/Defaults/properties"), spec);
    }
}
