//! Logical pools: what libvirt's definition says of one, which names lvm2 can hold, what it reports, how volumes are made.

mod create;
mod name;
mod report;

use std::{borrow::Cow, str::FromStr};

use roxmltree::Document;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::error::Refusal;
pub use create::{Making, making, most_room, qcow2_length};
pub use name::{check_group_name, check_volume_name};
pub use report::{GROUP_COLUMNS, LogicalVolume, LvKind, TAG, ThinPoolSize, VOLUME_COLUMNS, group, volumes};

/// Where the volumes of a logical pool are to be made, as somebody has said it: `thin_pool` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ThinChoice {
    /// In the volume group itself, `""`.
    Thick,
    /// In this thin pool of it.
    Pool(String),
}

impl FromStr for ThinChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Ok(Self::Thick),
            name if name::is_plain_name(name) && name.len() <= 127 => Ok(Self::Pool(name.to_owned())),
            other => Err(format!(
                "{} is no name of a thin pool: letters, digits and + _ . - are possible; \"\" means none",
                super::quoted::quoted(other)
            )),
        }
    }
}

impl<'de> Deserialize<'de> for ThinChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for ThinChoice {
    fn schema_name() -> Cow<'static, str> {
        "ThinChoice".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^([A-Za-z0-9+_.][A-Za-z0-9+_.-]*)?$" })
    }
}

/// The volume group of a pool, by libvirt's definition of the pool; none if its type is another than `logical`.
///
/// # Errors
/// It cannot be read, or names what can be no volume group.
pub fn group_of(pool_xml: &str) -> Result<Option<String>, String> {
    let document = Document::parse(pool_xml).map_err(|error| format!("reading the pool's XML: {error}"))?;
    let pool = document.root_element();
    if pool.attribute("type") != Some("logical") {
        return Ok(None);
    }
    let child = |node: roxmltree::Node<'_, '_>, name: &str| {
        node.children()
            .find(|child| child.has_tag_name(name))
            .and_then(|child| child.text())
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let source = pool.children().find(|node| node.has_tag_name("source"));
    // As libvirt does: without a source it is the pool's own name.
    let group = source.map(|source| child(source, "name")).filter(|name| !name.is_empty());
    let group = group.unwrap_or_else(|| child(pool, "name"));
    check_group_name(&group)?;
    Ok(Some(group))
}

/// The thin pool that the volumes of a logical pool are made in; none where they take the group's own extents. Without a choice a
/// group with just one thin pool is used for it: it was made for that.
///
/// # Errors
/// The chosen one is not there, or there are several and none is chosen.
pub fn thin_pool<'a>(
    volumes: &'a [LogicalVolume],
    choice: Option<&ThinChoice>,
    group: &str,
) -> Result<Option<(&'a str, ThinPoolSize, super::units::ByteSize)>, String> {
    let mut pools = volumes.iter().filter_map(|volume| match volume.kind {
        LvKind::ThinPool(size) => Some((volume.name.as_str(), size, volume.size)),
        _ => None,
    });
    match choice {
        Some(ThinChoice::Thick) => Ok(None),
        Some(ThinChoice::Pool(name)) => pools.find(|pool| pool.0 == name).map(Some).ok_or_else(|| {
            format!("volume group {group} has no thin pool {name}\n`thin_pool` in the configuration says which one is meant")
        }),
        None => {
            let found: Vec<_> = pools.collect();
            match found.as_slice() {
                [] => Ok(None),
                [one] => Ok(Some(*one)),
                several => {
                    let names: Vec<&str> = several.iter().map(|pool| pool.0).collect();
                    let names = names.join(", ");
                    Err(format!(
                        "volume group {group} has several thin pools: {names}\n`thin_pool` in the configuration says which one is meant"
                    ))
                }
            }
        }
    }
}

/// That nothing is made in a thin pool that does not zero what it gives away.
pub fn shows_old_data(group: &str, thin_pool: &str) -> Refusal {
    let path = format!("{group}/{thin_pool}");
    Refusal::new(format!("thin pool {path} does not zero what it gives away: old data of others would show in new volumes"))
        .advise(format!("`lvchange --zero y {path}` makes it do so"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::units::ByteSize;

    #[test]
    fn only_logical_pools_have_a_group() {
        let source = |source: &str| format!("<pool type='logical'><name>p</name>{source}<target><path>/x</path></target></pool>");
        let table = [
            ("<pool type='dir'><name>p</name><source><name>vg</name></source></pool>".to_owned(), Ok(None)),
            (source("<source>\n<device path='/dev/sda'/><name>vg-1</name></source>"), Ok(Some("vg-1".to_owned()))),
            (source("<source/>"), Ok(Some("p".to_owned()))),
            (source(""), Ok(Some("p".to_owned()))),
            (source("<source><name>../x</name></source>"), Err("\"../x\" is no name of a volume group".to_owned())),
        ];
        for (xml, expected) in table {
            assert_eq!(group_of(&xml), expected, "{xml}");
        }
        assert!(group_of("<pool").is_err());
    }

    #[test]
    fn which_thin_pool_is_meant() {
        let size =
            ThinPoolSize { used: ByteSize(1), metadata: ByteSize(2), metadata_used: ByteSize(1), zeroes: true, active: true };
        let lv =
            |name: &str, kind| LogicalVolume { name: name.to_owned(), size: ByteSize(9), kind, own: false, read_only: false };
        let all = [lv("a", LvKind::ThinPool(size)), lv("b", LvKind::ThinPool(size)), lv("c", LvKind::Thick)];
        let advice = "\n`thin_pool` in the configuration says which one is meant";
        let several = format!("volume group vg0 has several thin pools: a, b{advice}");
        let none = format!("volume group vg0 has no thin pool c{advice}");
        let table = [
            (&all[..], None, Err(several)),
            (&all[..], Some(""), Ok(None)),
            (&all[..], Some("b"), Ok(Some("b"))),
            (&all[..], Some("c"), Err(none)),
            (&all[1..], None, Ok(Some("b"))),
            (&all[2..], None, Ok(None)),
        ];
        for (volumes, choice, expected) in table {
            let choice: Option<ThinChoice> = choice.map(|choice| choice.parse().unwrap());
            let found = thin_pool(volumes, choice.as_ref(), "vg0");
            assert_eq!(found.map(|found| found.map(|found| found.0)), expected);
        }
        for bad in ["a b", "-a", "..", "a/b"] {
            assert!(bad.parse::<ThinChoice>().is_err(), "{bad}");
        }
    }
}
