//! The document `user-data`: cloud-config, and around it an archive where the operator has user-data of their own.
//!
//! cloud-init merges the cloud-configs of an archive one after the other, each by the rule that it brings along. So the
//! operator's part comes first, whatever rule is in it; tpl's lists are then put before its lists; and what makes the clone
//! who it is comes last and replaces all that has been said about it.
//! <https://docs.cloud-init.io/en/latest/reference/merging.html>

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{
    commands::{self, once},
    disks::{self, FsSetup},
    handed::READY,
    mime::{Part, archive},
    moving, network,
};
use crate::core::{
    guest::{File, Guest, PasswordHash, UserData, declares_mime},
    names::UserName,
    ssh_key::PublicKey,
    vm_spec::SeedWay,
};

/// Lists: these entries, then those that were there. Mappings: what both have is merged; what is neither stays as it was, but
/// for text, which is replaced.
const MERGE_LISTS: &str = "list(prepend)+dict(no_replace,recurse_list,recurse_str)+str()";
/// Each key replaces what was there.
const MERGE_REPLACE: &str = "dict(replace)+list()+str()";

/// What was there stays, whatever it is: only keys that are not there are added.
const MERGE_MISSING: &str = "dict(no_replace)+list()+str()";
/// So often a guest tries to say that it is ready, three seconds apart.
const TRIES: u8 = 10;

/// A cloud-config. What is not said is not there: cloud-init's schema has no empty lists in most places.
#[derive(Serialize, Default)]
struct CloudConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fqdn: Option<String>,
    // The name alone is the hostname; the domain comes from DNS.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefer_fqdn_over_hostname: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preserve_hostname: Option<bool>,
    // `localhost`: one line of /etc/hosts, the rest stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    manage_etc_hosts: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<Vec<User<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_root: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh_deletekeys: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh_keys: Option<HostKeys<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    growpart: Option<GrowPart>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bootcmd: Vec<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fs_setup: Vec<FsSetup>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<[String; 6]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timezone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    apt: Option<Apt>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    package_update: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    packages: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    write_files: Vec<WriteFile<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    runcmd: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_home: Option<PhoneHome>,
}

/// What the guest says once its first boot has ended, and to whom. The names are those of cloud-init's `cc_phone_home.py`; not `all`,
/// for clones have no other host keys, and it would warn of each that is missing. 22.2 fails without `tries`.
#[derive(Serialize)]
struct PhoneHome {
    url: &'static str,
    post: [&'static str; 4],
    tries: u8,
}

#[derive(Serialize)]
struct User<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sudo: Option<&'static str>,
    shell: &'static str,
    lock_passwd: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    hashed_passwd: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ssh_authorized_keys: Vec<String>,
}

#[derive(Serialize)]
struct HostKeys<'a> {
    ed25519_private: &'a str,
    ed25519_public: &'a str,
}

#[derive(Serialize)]
struct GrowPart {
    mode: &'static str,
    devices: [&'static str; 1],
}

#[derive(Serialize)]
struct Apt {
    preserve_sources_list: bool,
}

#[derive(Serialize)]
struct WriteFile<'a> {
    path: &'a str,
    encoding: &'static str,
    content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    defer: bool,
}

/// The whole document.
pub(super) fn document(seed: &super::Seed<'_>) -> anyhow::Result<String> {
    let write = |config: &CloudConfig<'_>| Ok::<_, anyhow::Error>(format!("#cloud-config\n{}", super::yaml(config)?));
    let Some(operators) = &seed.guest.user_data else {
        let text = write(&identity(seed, CloudConfig { phone_home: phone_home(seed), ..work(seed) }))?;
        // An operator's text with that word in it would make a message of the document.
        let part = Part { kind: Some("text/cloud-config"), name: "tpl", merge: None, text: &text };
        return Ok(if declares_mime(&text) { archive(&[part]) } else { text });
    };
    let kind = operators.kind().mime_type();
    let lists = write(&work(seed))?;
    let mut identity = identity(seed, CloudConfig::default());
    // Else the operator's could stay.
    identity.fqdn = identity.fqdn.or_else(|| Some(seed.name.to_string()));
    let identity = write(&identity)?;
    let ready = phone_home(seed).map(|phone_home| write(&CloudConfig { phone_home: Some(phone_home), ..CloudConfig::default() }));
    let ready = ready.transpose()?;
    let config = Some("text/cloud-config");
    let mut parts = vec![
        Part { kind, name: "user-data", merge: None, text: operators.text().expose() },
        Part { kind: config, name: "tpl-lists", merge: Some(MERGE_LISTS), text: &lists },
        Part { kind: config, name: "tpl-identity", merge: Some(MERGE_REPLACE), text: &identity },
    ];
    parts.extend(ready.iter().map(|text| Part { kind: config, name: "tpl-ready", merge: Some(MERGE_MISSING), text }));
    Ok(archive(&parts))
}

/// Whom the clone tells that it is ready: the service that it has its seed from. cloud-init tells one URL alone, and whoever writes
/// one into their user-data has somebody who waits to hear of the VM, as nobody needs to who lets tpl wait for SSH: theirs stays.
/// What hides in a MIME message is left in place by the rule that this one is merged by.
fn phone_home(seed: &super::Seed<'_>) -> Option<PhoneHome> {
    let theirs = seed.guest.user_data.as_ref().is_some_and(UserData::phones_home);
    let post = ["instance_id", "hostname", "fqdn", "pub_key_ed25519"];
    (seed.way == SeedWay::Metadata && !theirs).then_some(PhoneHome { url: READY, post, tries: TRIES })
}

/// What makes the clone who it is, and lets its disk be as large as it was asked for.
fn identity<'a>(seed: &super::Seed<'a>, rest: CloudConfig<'a>) -> CloudConfig<'a> {
    let (private, public) = seed.host_key;
    // No DHCP server has told a DNS server about it: without that line sudo waits for an answer each time.
    let unknown = seed.cards.iter().any(|card| card.address != network::CardAddress::Dhcp);
    let fqdn = seed.domain.map(|domain| format!("{}.{domain}", seed.name));
    CloudConfig {
        hostname: Some(seed.name.as_str()),
        manage_etc_hosts: (unknown || fqdn.is_some()).then_some("localhost"),
        // Else cloud-init invents a domain.
        fqdn: fqdn.or_else(|| unknown.then(|| seed.name.to_string())),
        prefer_fqdn_over_hostname: Some(false),
        preserve_hostname: Some(false),
        ssh_deletekeys: Some(true),
        ssh_keys: Some(HostKeys { ed25519_private: private.expose(), ed25519_public: public }),
        growpart: Some(GrowPart { mode: "auto", devices: ["/"] }),
        ..rest
    }
}

/// What the clone is to do. No `ssh_pwauth`, whatever passwords there are: with it cloud-init restarts sshd on Debian.
fn work<'a>(seed: &super::Seed<'a>) -> CloudConfig<'a> {
    let guest = seed.guest;
    let root = guest.user.as_ref().is_some_and(|user| user.as_str() == "root");
    CloudConfig {
        users: Some(users(guest)),
        // Root's keys would only tell whoever logs in to be somebody else.
        disable_root: Some(!root),
        bootcmd: bootcmd(seed),
        fs_setup: disks::fs_setup(seed.disks),
        mounts: disks::mounts(seed.disks),
        timezone: guest.timezone.as_ref().map(|word| word.as_str()),
        locale: guest.locale.as_ref().map(|word| word.as_str()),
        // Else cloud-init would undo the mirror in images whose sources are its own.
        apt: guest.apt_mirror.as_ref().map(|_| Apt { preserve_sources_list: true }),
        package_update: !guest.packages.is_empty(),
        packages: guest.packages.iter().map(|word| word.as_str()).collect(),
        write_files: guest.write_files.iter().map(|file| write_file(seed, file)).collect(),
        runcmd: &guest.runcmd,
        ..CloudConfig::default()
    }
}

fn users(guest: &Guest) -> Vec<User<'_>> {
    let first = guest.user.iter().map(|name| user(name, &guest.keys, guest.password_hash.as_ref(), &[], true));
    let further = guest.users.iter().map(|u| user(&u.name, &u.keys, u.password_hash.as_ref(), &u.groups, u.sudo));
    first.chain(further).collect()
}

fn user<'a>(
    name: &'a UserName,
    keys: &[PublicKey],
    password: Option<&'a PasswordHash>,
    groups: &'a [UserName],
    sudo: bool,
) -> User<'a> {
    User {
        name: name.as_str(),
        groups: groups.iter().map(UserName::as_str).collect(),
        sudo: sudo.then_some("ALL=(ALL) NOPASSWD:ALL"),
        shell: "/bin/bash",
        lock_passwd: password.is_none(),
        hashed_passwd: password.map(PasswordHash::expose),
        ssh_authorized_keys: keys.iter().map(ToString::to_string).collect(),
    }
}

fn bootcmd(seed: &super::Seed<'_>) -> Vec<Vec<String>> {
    let mirror = |url: &str| once("tpl-apt-mirror", commands::APT_MIRROR, &[url.trim_end_matches('/'), "/etc/apt"]);
    let resolver = |lines: String| once("tpl-resolv-conf", commands::RESOLV_CONF, &[&lines]);
    let mirror = seed.guest.apt_mirror.as_ref().map(|word| mirror(word.as_str()));
    // A restart must find it.
    let known = || once("tpl-instance", commands::INSTANCE, &[&seed.uuid.to_string(), "/var/lib/cloud/seed/nocloud"]);
    let asks = (seed.way == SeedWay::Metadata).then(known);
    // Before all that is left: it restarts the guest.
    let moves = seed.disks.iter().filter_map(moving::command);
    asks.into_iter().chain(moves).chain(network::resolv_conf(seed.cards).map(resolver)).chain(mirror).collect()
}

fn write_file<'a>(seed: &super::Seed<'_>, file: &'a File) -> WriteFile<'a> {
    let path = file.path.as_str();
    let owner = file.owner.as_ref().map(|word| word.as_str());
    // cloud-init writes files before it mounts disks and makes users. A home folder that is there already would stay root's.
    let stranger = owner.is_some_and(|owner| owner.split(':').any(|name| name != "root"));
    let defer = stranger || path.starts_with("/home/") || disks::holds(seed.disks, &file.path);
    WriteFile {
        path,
        encoding: "b64",
        content: STANDARD.encode(file.content.expose()),
        permissions: file.mode.map(|mode| mode.to_string()),
        owner,
        defer,
    }
}
