//! What a hypervisor is to be: asked for on a command line, and kept on the machine itself, so that whoever comes next, from whatever
//! workstation, checks it against the same and changes nothing by leaving a flag out.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{Facts, Item, Probe};
use crate::core::{
    config::HypervisorName,
    error::Invalid,
    lvm::check_group_name,
    names::UserName,
    ssh_key::PublicKey,
    toml_text,
    vm_spec::{DomainName, GuestPath},
};

/// Where the record is.
pub const RECORD: &str = "/etc/tpl/host.toml";
/// The question after it.
pub const PROBE: &str = "record";
/// The pool of a hypervisor whose guests are in files.
pub const DIRECTORY_POOL: &str = "default";
const HEAD: &str = "# What this hypervisor is to be. Written by tpl host bootstrap, read by tpl host check.\n";

/// All that a bootstrap is to come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Who logs in; none where the machine is this one.
    pub user: Option<UserName>,
    /// The key that is to open, once passwords do not.
    pub key: Option<PublicKey>,
    /// When the machine starts again.
    pub reboot: Reboot,
    /// An empty device that may become the volume group's.
    pub device: Option<GuestPath>,
    /// What stays written on the machine.
    pub record: Record,
}

/// When a machine starts again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reboot {
    /// Where updates need it, and no guests run.
    #[default]
    WhenNeeded,
    /// In any case, also under running guests.
    Always,
    /// Not.
    Never,
}

/// What a hypervisor is to be, as it is kept on the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What it is called, by itself and in tpl's configuration.
    pub name: HypervisorName,
    /// The domain of DNS that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<DomainName>,
    /// Whether it forwards DNS for its guests to the router.
    #[serde(default)]
    pub dns_forwarder: bool,
    /// The volume group that is its pool; without one that is a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vg: Option<GroupName>,
}

/// The name of a volume group: what LVM takes, and libvirt as the name of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupName(String);

impl GroupName {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GroupName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        check_group_name(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for GroupName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What is asked for on a command line; all of it may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// What it is to be called.
    pub name: Option<HypervisorName>,
    /// The domain of DNS that it is in.
    pub domain: Option<DomainName>,
    /// Whether it forwards DNS.
    pub dns_forwarder: Option<bool>,
    /// The volume group that is its pool.
    pub vg: Option<GroupName>,
}

impl Record {
    /// What a machine is to be: what is asked for, over what is kept on it, over what it is called until now.
    pub fn decide(given: &Given, kept: Option<&Self>, called: HypervisorName) -> Self {
        Self {
            name: given.name.clone().or_else(|| kept.map(|kept| kept.name.clone())).unwrap_or(called),
            domain: given.domain.clone().or_else(|| kept.and_then(|kept| kept.domain.clone())),
            dns_forwarder: given.dns_forwarder.or_else(|| kept.map(|kept| kept.dns_forwarder)).unwrap_or(false),
            vg: given.vg.clone().or_else(|| kept.and_then(|kept| kept.vg.clone())),
        }
    }

    /// What it calls its pool.
    pub fn pool(&self) -> &str {
        self.vg.as_ref().map_or(DIRECTORY_POOL, GroupName::as_str)
    }

    /// The name with the domain, as a host calls itself by.
    pub fn full_name(&self) -> String {
        match &self.domain {
            Some(domain) => format!("{}.{domain}", self.name.as_str()),
            None => self.name.as_str().to_owned(),
        }
    }

    /// Reads what is kept on a machine.
    ///
    /// # Errors
    /// [`Invalid`]: it is none.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        toml_text::parse(RECORD, text)
    }

    /// What is kept on the machine.
    pub fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        text.push_str(&format!("name = \"{}\"\n", self.name.as_str()));
        if let Some(domain) = &self.domain {
            text.push_str(&format!("domain = \"{domain}\"\n"));
        }
        text.push_str(&format!("dns_forwarder = {}\n", self.dns_forwarder));
        if let Some(vg) = &self.vg {
            text.push_str(&format!("vg = \"{}\"\n", vg.as_str()));
        }
        text
    }
}

/// The question that every phase asks that goes by the record.
pub fn probe() -> Probe {
    Probe::file(PROBE, RECORD)
}

/// The record among the items of such a phase, before all others: a bootstrap that is cut off goes on with the same.
pub fn item(facts: &Facts, wish: &Wish) -> Item {
    Item::file(RECORD, facts.whole(PROBE), 0o644, &wish.record.text(), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let table = [
            "name = \"hv1\"\ndns_forwarder = false\n",
            "name = \"hv1\"\ndomain = \"lab.example\"\ndns_forwarder = true\nvg = \"vg0\"\n",
        ];
        for text in table {
            let text = format!("{HEAD}{text}");
            assert_eq!(Record::parse(&text).unwrap().text(), text);
        }
        let full = Record::parse("name = 'hv1'\ndomain = 'lab.example'\nvg = 'vg0'").unwrap();
        assert_eq!((full.full_name().as_str(), full.pool()), ("hv1.lab.example", "vg0"));
        let bare = Record::parse("name = 'hv1'").unwrap();
        assert_eq!((bare.full_name().as_str(), bare.pool()), ("hv1", "default"));
    }

    #[test]
    fn a_flag_that_is_left_out_changes_nothing() {
        let called = || "new".parse().unwrap();
        let kept = Record::parse("name = 'hv1'\ndomain = 'a.example'\ndns_forwarder = true\nvg = 'vg0'").unwrap();
        assert_eq!(Record::decide(&Given::default(), Some(&kept), called()), kept);
        let given = Given {
            name: Some("hv2".parse().unwrap()),
            domain: Some("b.example".parse().unwrap()),
            dns_forwarder: Some(false),
            vg: Some("vg1".parse().unwrap()),
        };
        let expected = "name = \"hv2\"\ndomain = \"b.example\"\ndns_forwarder = false\nvg = \"vg1\"\n";
        assert_eq!(Record::decide(&given, Some(&kept), called()).text(), format!("{HEAD}{expected}"));
        let expected = "name = \"new\"\ndns_forwarder = false\n";
        assert_eq!(Record::decide(&Given::default(), None, called()).text(), format!("{HEAD}{expected}"));
    }

    #[test]
    fn what_could_mean_something_elsewhere_is_refused() {
        let table = [
            "",
            "name = 'a b'",
            "name = 'a$(x)'",
            "name = 'A'",
            "name = 'a'\ndomain = 'x;y'",
            "name = 'a'\nvg = '../x'",
            "name = 'a'\nvg = '-x'",
            "name = 'a'\nother = 1",
        ];
        for text in table {
            assert!(Record::parse(text).is_err(), "{text}");
        }
    }
}
