//! The storage that autoinstall is asked for, in curtin's words: what curtin would only find on the machine, when the installation
//! has begun.

use std::collections::BTreeSet;

use serde_json::Value;

/// Subiquity's own layouts, by its autoinstall reference.
const LAYOUTS: [&str; 4] = ["direct", "hybrid", "lvm", "zfs"];
/// The keys by which an entry names others. Source: curtin's storage documentation.
const REFERENCES: [&str; 6] = ["device", "devices", "volume", "volgroup", "pool", "backing_device"];

/// What is wrong with the value of `storage`.
pub fn check(storage: &Value) -> Vec<String> {
    match (storage.get("layout"), storage.get("config")) {
        (Some(_), Some(_)) => vec!["storage has a layout or a config, not both".to_owned()],
        (Some(layout), None) => {
            let known = layout["name"].as_str().is_some_and(|name| LAYOUTS.contains(&name));
            if known { Vec::new() } else { vec![format!("the layout's name is one of {}", LAYOUTS.join(", "))] }
        }
        (None, Some(config)) => match config.as_array() {
            Some(entries) => entries_of(entries),
            None => vec!["storage.config is a list".to_owned()],
        },
        (None, None) => Vec::new(),
    }
}

fn entries_of(entries: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut known = BTreeSet::new();
    for (index, entry) in entries.iter().enumerate() {
        let (Some(id), Some(_)) = (entry["id"].as_str(), entry["type"].as_str()) else {
            faults.push(format!("entry {} of storage.config needs an id and a type", index + 1));
            continue;
        };
        for other in REFERENCES.iter().flat_map(|key| named(&entry[*key])).filter(|other| !known.contains(other)) {
            faults.push(format!("storage.config: {id:?} stands on {other:?}, which is no id of an entry above it"));
        }
        if !known.insert(id) {
            faults.push(format!("storage.config: the id {id:?} is there twice"));
        }
    }
    if !entries.iter().any(|entry| entry["type"] == "mount" && entry["path"] == "/") {
        faults.push("storage.config has no root: an entry with type: mount and path: / is missing".to_owned());
    }
    faults
}

/// One id, or a list of them.
fn named(value: &Value) -> Vec<&str> {
    match value {
        Value::String(id) => vec![id],
        Value::Array(ids) => ids.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_curtin_would_stop_at_is_found() {
        let disk = json!({"id": "disk", "type": "disk"});
        let format = json!({"id": "root", "type": "format", "volume": "part"});
        let part = json!({"id": "part", "type": "partition", "device": "disk"});
        let mount = json!({"id": "/", "type": "mount", "device": "root", "path": "/"});
        let group = json!({"id": "vg", "type": "lvm_volgroup", "devices": ["part", "other"]});
        let table: [(Value, &[&str]); 9] = [
            (json!({"config": [disk, part, format, mount]}), &[]),
            (json!({"layout": {"name": "direct"}}), &[]),
            (json!({"swap": {"size": 0}}), &[]),
            (json!({"layout": {"name": "fnord"}}), &["the layout's name is one of direct, hybrid, lvm, zfs"]),
            (json!({"layout": {}, "config": []}), &["storage has a layout or a config, not both"]),
            (json!({"config": {}}), &["storage.config is a list"]),
            (
                json!({"config": [part, disk, format, mount, {"id": "x"}]}),
                &[
                    "storage.config: \"part\" stands on \"disk\", which is no id of an entry above it",
                    "entry 5 of storage.config needs an id and a type",
                ],
            ),
            (
                json!({"config": [disk, part, group, format]}),
                &[
                    "storage.config: \"vg\" stands on \"other\", which is no id of an entry above it",
                    "storage.config has no root: an entry with type: mount and path: / is missing",
                ],
            ),
            (json!({"config": [disk, disk, part, format, mount]}), &["storage.config: the id \"disk\" is there twice"]),
        ];
        for (storage, expected) in table {
            assert_eq!(check(&storage), expected, "{storage}");
        }
    }
}
