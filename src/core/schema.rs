//! The JSON Schema of what operators write, for editors: derived from the types that read it. Here are the types that are one
//! text, which no derive can look into; `tests` holds each against its parser.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

use super::{
    capacity::{CapPercent, Overcommit},
    config::{ConnectionUri, HypervisorName},
    names::{NamePattern, TemplateName, TemplateRef, UserName, VmName},
    numbers::Numbers,
    pipeline::{AnswerPath, GroupName, PackageName, Pipeline, Place, PlainText, Script, VolumeGroup, Word},
    signing,
    ssh_key::PublicKey,
    units::{ByteSize, Span},
    vm_spec::{Addressing, DomainName, FileMode, FileSystem, Firmware, GuestPath, IpChoice, Label, MacChoice, SeedWay, Topology},
};

/// The dialect; editors know it, and so do all validators of today.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of a pipeline's file.
pub fn pipeline() -> Value {
    titled("a pipeline of tpl, pipelines/NAME.toml", of::<Pipeline>())
}

/// A schema under a title.
pub(super) fn titled(title: &str, schema: Value) -> Value {
    let mut whole = Map::from_iter([("$schema".to_owned(), json!(DIALECT))]);
    if let Value::Object(parts) = schema {
        whole.extend(parts.into_iter().filter(|(key, _)| key != "$schema"));
    }
    whole.insert("title".to_owned(), json!(title));
    Value::Object(whole)
}

/// The schema of a type as TOML reads it: what a key may hold, or not be there. TOML has no null.
pub(super) fn of<T: JsonSchema>() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value();
    without_null(&mut schema);
    schema
}

fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if object.get("default").is_some_and(Value::is_null) {
                object.remove("default");
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| choice != &json!({"type": "null"}));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    // What stands beside it is nearer to the key.
                    for (key, value) in only {
                        object.entry(key).or_insert(value);
                    }
                }
            }
            object.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// The schema of a type that is read from one text.
macro_rules! texts {
    ($($type:ty, $name:literal: $schema:tt;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

texts! {
    Word, "Word": {
        "type": "string", "pattern": r"^[A-Za-z0-9+._~:/@,=%\[\]?-]{0,500}$",
        "description": "one plain word, without blanks and quotes",
    };
    PlainText, "PlainText": {
        "type": "string", "maxLength": 200, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$",
        "description": "one line of text",
    };
    Script, "Script": {
        "type": "string", "maxLength": 4000,
        "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$",
        "description": "one line of shell", "examples": ["systemctl enable foo"],
    };
    AnswerPath, "AnswerPath": {
        "type": "string", "pattern": r"^(?!/)(?!\./)(?!\.$)(?!(.*/)?\.\.(/|$))[^\u0000-\u001f\u007f-\u009f]+$",
        "description": "a path below the folder that holds pipelines/", "examples": ["preseed/debian.cfg"],
    };
    Place, "Place": {
        "type": "string", "maxLength": 1000, "pattern": r"^(/|https?://)[A-Za-z0-9+._~:/@,=%\[\]?{}-]*$",
        "description": "an http:// or https:// URL, or an absolute path; {arch}, {cpu} and {release} are filled in",
        "examples": ["https://releases.ubuntu.com/{release}/ubuntu-{release}-live-server-{arch}.iso"],
    };
    PackageName, "PackageName": {
        "type": "string", "pattern": r"^[A-Za-z0-9@][A-Za-z0-9+._~:/@=^-]{0,199}$",
        "description": "a package, or a group of packages", "examples": ["vim", "@core"],
    };
    GroupName, "GroupName": {
        "type": "string", "pattern": r"^[a-z_][a-z0-9_-]{0,31}$", "description": "a group in the guest", "examples": ["adm"],
    };
    UserName, "UserName": {
        "type": "string", "pattern": r"^[a-z_][a-z0-9_-]{0,31}$", "description": "a user in the guest", "examples": ["ops"],
    };
    VolumeGroup, "VolumeGroup": {
        "type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9_]{0,31}$", "description": "a volume group in the guest",
        "examples": ["vg0"],
    };
    PublicKey, "PublicKey": {
        "type": "string",
        "pattern": r"^[ \t]*(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)[ \t]+[A-Za-z0-9+/=]+",
        "description": "a public SSH key: type, base64, comment; without options",
    };
    signing::PublicKey, "SigningKey": {
        "type": "string", "pattern": r"^RW[A-Za-z0-9+/=]{54}$", "description": "a public key as minisign prints it",
    };
    ByteSize, "ByteSize": {
        "anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": r"^\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([Bb]|[KkMmGgTt]([Ii]?[Bb])?)?\s*$"},
        ],
        "description": "a size: bytes, or a number with a unit. K, M, G and T are binary, as KiB to TiB are; KB to TB are decimal",
        "examples": ["20G", "1536MiB"],
    };
    Span, "Span": {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 604_800},
            {"type": "string", "minLength": 1, "pattern": "^([0-9]+[hms])*([0-9]+)?$"},
        ],
        "description": "a span of time, at most a week: seconds, or numbers with h, m and s", "examples": ["45m", "1h30m"],
    };
    TemplateName, "TemplateName": {
        "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,47}$", "description": "a template", "examples": ["debian13"],
    };
    HypervisorName, "HypervisorName": {
        "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "description": "the name of a hypervisor",
        "examples": ["hv1"],
    };
    ConnectionUri, "ConnectionUri": {
        "type": "string", "maxLength": 1000, "pattern": "^[A-Za-z][A-Za-z0-9+.-]*://",
        "description": "a URI of libvirt's", "examples": ["qemu+ssh://root@hv1/system"],
    };
    Overcommit, "Overcommit": {
        "type": "number", "minimum": 0.1, "maximum": 100, "description": "vCPUs for each logical CPU", "examples": [1.5],
    };
    CapPercent, "CapPercent": {
        "type": "integer", "minimum": 1, "maximum": 100, "description": "percent of each axis that may be promised",
    };
    TemplateRef, "TemplateRef": {
        "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,47}(@[0-9]{8}-[0-9]{6})?$",
        "description": "a template: NAME, the current version, or NAME@VERSION", "examples": ["debian13"],
    };
    VmName, "VmName": {
        "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "description": "the name of a VM",
        "examples": ["db"],
    };
    NamePattern, "NamePattern": {
        "type": "string", "pattern": "^[a-z0-9-]*(\\{(:0[1-9])?\\}[a-z0-9-]*)?$", "minLength": 1,
        "description": "how names are made: {} or {:02} where the number goes", "examples": ["web{}", "web{:02}"],
    };
    Numbers, "Numbers": {
        "type": "string", "pattern": r"^\s*[0-9]+(\s*-\s*[0-9]+)?(\s*,\s*[0-9]+(\s*-\s*[0-9]+)?)*\s*$",
        "description": "numbers and ranges", "examples": ["3,7-9"],
    };
    Label, "Label": {
        "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$", "description": "a short name", "examples": ["br0"],
    };
    GuestPath, "GuestPath": {
        "type": "string", "maxLength": 1024,
        "pattern": r#"^/(?!\.{0,2}/)(?!.*/\.{0,2}(/|$))(?!\.{1,2}$)[^\u0000-\u001f\u007f-\u009f"'\\`$]*$"#,
        "description": "an absolute path in the guest", "examples": ["/srv/data"],
    };
    DomainName, "DomainName": {
        "type": "string", "maxLength": 190,
        "pattern": r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?$",
        "description": "a domain of DNS", "examples": ["lab.example"],
    };
    FileMode, "FileMode": {
        "type": "string", "pattern": "^[0-7]{3,4}$", "description": "a file's mode in octal digits", "examples": ["0644"],
    };
    Topology, "Topology": {
        "type": "string", "pattern": r"^\+?[0-9]+:\+?[0-9]+:\+?[0-9]+$",
        "description": "sockets:cores:threads", "examples": ["1:2:2"],
    };
    IpChoice, "IpChoice": {
        "type": "string", "pattern": r"^(next|\s*[0-9]+\.[0-9. ,-]+)$",
        "description": "addresses and ranges of them, or next: the next free one",
        "examples": ["192.168.122.50-60", "192.168.122.50,192.168.122.52"],
    };
    MacChoice, "MacChoice": {
        "type": "string", "pattern": r"^(name|ip|random|[0-9A-Fa-f:, ]+)$",
        "description": "where MAC addresses come from: the VM's name, its IPv4 address, chance, or this list",
        "examples": ["name", "52:54:00:ab:cd:ef"],
    };
    Firmware, "Firmware": {"enum": ["bios", "uefi"], "type": "string", "description": "what starts the boot loader"};
    FileSystem, "FileSystem": {"enum": ["ext4", "xfs"], "type": "string", "description": "the file system of an extra disk"};
    Addressing, "Addressing": {
        "enum": ["reserve", "static", "dhcp"], "type": "string",
        "description": "reserve: by the libvirt network's DHCP server; static: in the guest; dhcp: from whatever server there is",
    };
    SeedWay, "SeedWay": {
        "enum": ["volume", "metadata"], "type": "string",
        "description": "where cloud-init reads its seed: on a volume of the VM's own, or from the hypervisor's metadata service",
    };
}

#[cfg(test)]
mod tests;
