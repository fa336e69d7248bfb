//! The EC2 metadata of a domain: a tree of paths, as cloud-init's datasource Ec2 walks it.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html>
//!
//! All answers are made when something is known anew of a domain: a request looks one up, and that is all.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use serde_json::json;

use super::instance::{Card, Instance};

/// What a cloud's region is called: there is none.
const REGION: &str = "libvirt";

/// What a path is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This text.
    Text(String),
    /// The address of the card that the request came by: [`Instance::address`].
    CardsAddress,
}

/// All answers of a domain, by their paths below a version.
#[derive(Debug, Default)]
pub struct Answers {
    by_path: HashMap<String, Answer>,
}

impl Answers {
    /// The answers of a domain on the hypervisor of this name.
    pub fn of(instance: &Instance, host: &str) -> Self {
        let leaves = leaves(instance, host);
        let mut by_path: HashMap<String, Answer> = folders(&leaves).into_iter().collect();
        by_path.extend(leaves);
        if !instance.content.keys.is_empty() {
            let keys =
                (0..instance.content.keys.len()).map(|index| format!("{index}=key-{index}")).collect::<Vec<_>>().join("\n");
            by_path.insert("meta-data/public-keys/".to_owned(), Answer::Text(keys.clone()));
            by_path.insert("meta-data/public-keys".to_owned(), Answer::Text(keys));
        }
        Self { by_path }
    }

    /// The answer to a path, if there is one.
    pub fn get(&self, path: &str) -> Option<&Answer> {
        self.by_path.get(path)
    }
}

fn leaves(instance: &Instance, host: &str) -> BTreeMap<String, Answer> {
    let mut leaves = BTreeMap::new();
    let mut add = |path: &str, value: String| leaves.insert(path.to_owned(), Answer::Text(value));
    let kind = format!("{}c-{}m", instance.vcpus, instance.memory);
    let id = instance.uuid.to_string();
    let image = instance.template.clone().unwrap_or_else(|| "none".to_owned());
    for (path, value) in [
        ("ami-id", image.clone()),
        ("ami-launch-index", "0".to_owned()),
        ("hostname", instance.fqdn()),
        ("instance-id", id.clone()),
        ("instance-type", kind.clone()),
        ("local-hostname", instance.fqdn()),
        ("placement/availability-zone", host.to_owned()),
        ("placement/region", REGION.to_owned()),
        ("reservation-id", id.clone()),
    ] {
        add(&format!("meta-data/{path}"), value);
    }
    for (index, key) in instance.content.keys.iter().enumerate() {
        add(&format!("meta-data/public-keys/{index}/openssh-key"), key.clone());
    }
    if let Some(user_data) = &instance.content.user_data {
        add("user-data", user_data.clone());
    }
    if let Some(vendor_data) = &instance.content.vendor_data {
        add("vendor-data", vendor_data.clone());
    }
    let address = instance.cards.iter().find_map(|card| card.addresses.first()).map(ToString::to_string);
    let document = json!({
        "architecture": instance.architecture, "availabilityZone": host, "imageId": image, "instanceId": id, "instanceType": kind,
        "privateIp": address, "region": REGION, "version": "2017-09-30",
    });
    add("dynamic/instance-identity/document", format!("{document:#}"));
    if let Some(first) = instance.cards.first() {
        add("meta-data/mac", first.mac.to_string());
    }
    instance.cards.iter().for_each(|card| of_card(card, instance, &mut leaves));
    leaves.insert("meta-data/local-ipv4".to_owned(), Answer::CardsAddress);
    leaves
}

/// What cloud-init makes its network configuration of: a card that it is told no address of asks for one.
fn of_card(card: &Card, instance: &Instance, leaves: &mut BTreeMap<String, Answer>) {
    let mut add = |path: &str, value: String| {
        leaves.insert(format!("meta-data/network/interfaces/macs/{}/{path}", card.mac), Answer::Text(value));
    };
    add("device-number", card.index.to_string());
    add("interface-id", format!("eni-{}", card.mac.to_string().replace(':', "")));
    add("local-hostname", instance.fqdn());
    add("mac", card.mac.to_string());
    if let Some(IpAddr::V4(address)) = card.addresses.first() {
        add("local-ipv4s", address.to_string());
    }
}

/// The folders above the leaves, with a slash at their end and without: what is in them, a line each, folders with a slash.
fn folders(leaves: &BTreeMap<String, Answer>) -> Vec<(String, Answer)> {
    let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in leaves.keys() {
        let mut folder = String::new();
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            let slash = if names.peek().is_some() { "/" } else { "" };
            folders.entry(folder.clone()).or_default().insert(format!("{name}{slash}"));
            folder = format!("{folder}{name}/");
        }
    }
    let listing = |(folder, names): (String, BTreeSet<String>)| {
        let text = Answer::Text(names.into_iter().collect::<Vec<_>>().join("\n"));
        let bare = folder.trim_end_matches('/').to_owned();
        [(folder, text.clone()), (bare, text)]
    };
    folders.into_iter().flat_map(listing).collect()
}

#[cfg(test)]
#[path = "ec2_tests.rs"]
pub(super) mod tests;
