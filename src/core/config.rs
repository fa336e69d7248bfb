//! The configuration: `/etc/tpl/config.toml`, then `~/.config/tpl/config.toml`, then flags and `TPL_*`.
//!
//! Without any of them everything has a default that works on a host with libvirt's default pool and network.

mod choice;
pub mod edit;
mod hypervisors;

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    capacity::{Policy, PolicyFile},
    check::document::Document,
    dns::config::{ProviderConfig, ProviderTable},
    error::Invalid,
    lvm::ThinChoice,
    names::TemplateName,
    pipeline::Word,
    secret::Secret,
    signing::PublicKey,
    units::Span,
    vm_spec::Label,
};

pub use choice::{Given, Target};
pub use hypervisors::{ConnectionUri, HypervisorFile, HypervisorName, KeyFile};

/// What a configuration file may say. Each key may be absent. `P` is a DNS provider: as it is understood, or as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound(deserialize = "P: Deserialize<'de>"))]
pub struct ConfigFile<P = ProviderConfig> {
    /// The libvirt connection.
    pub uri: Option<Word>,
    /// The pool for templates and clones.
    pub pool: Option<Word>,
    /// Where in that pool volumes are made, if it is a logical one.
    pub thin_pool: Option<ThinChoice>,
    /// The libvirt network for templates and clones.
    pub network: Option<Word>,
    /// How long a hypervisor that is another machine has to answer when it is connected to.
    pub connect_timeout: Option<Span>,
    /// Which of the hypervisors below is meant when none is named.
    pub hypervisor: Option<HypervisorName>,
    /// The hypervisors, by the names that they are called by.
    #[serde(default)]
    pub hypervisors: BTreeMap<HypervisorName, HypervisorFile>,
    /// The template that `tpl clone` takes when none is named.
    pub template: Option<TemplateName>,
    /// The Debian mirror.
    pub debian_mirror: Option<Word>,
    /// The mirror of Debian's security archive that the installer is told, where `debian_mirror` is set.
    pub debian_security_mirror: Option<Word>,
    /// Where downloads are kept.
    pub cache: Option<PathBuf>,
    /// A folder of pipelines, besides the usual ones.
    pub pipelines: Option<PathBuf>,
    /// The DNS providers, by the names that they are called by.
    #[serde(default)]
    pub dns: BTreeMap<Label, P>,
    /// How much of a hypervisor may be promised.
    #[serde(default)]
    pub admission: PolicyFile,
    /// The secret key that published versions are signed with.
    pub signing_key: Option<PathBuf>,
    /// The file with its passphrase, where it has one.
    pub signing_passphrase_file: Option<PathBuf>,
    /// The public keys whose signatures count.
    pub trusted_keys: Option<Vec<PublicKey>>,
    /// Whether a version without a good signature of a trusted key is refused.
    pub require_signatures: Option<bool>,
}

/// Who signs, and whose signatures count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signing {
    /// The file of the secret key. It need not be there.
    pub key: PathBuf,
    /// Its passphrase, where the environment had one.
    pub passphrase: Option<Secret<String>>,
    /// The file with its passphrase, where one is named.
    pub passphrase_file: Option<PathBuf>,
    /// The trusted keys that the configuration itself names.
    pub trusted: Vec<PublicKey>,
    /// The folders with files of further ones.
    pub folders: Vec<PathBuf>,
    /// Whether a version without a good signature of a trusted key is refused.
    pub required: bool,
}

// Derived, it would ask a default of `P`.
impl<P> Default for ConfigFile<P> {
    fn default() -> Self {
        Self {
            uri: None,
            pool: None,
            thin_pool: None,
            network: None,
            connect_timeout: None,
            hypervisor: None,
            hypervisors: BTreeMap::new(),
            template: None,
            debian_mirror: None,
            debian_security_mirror: None,
            cache: None,
            pipelines: None,
            dns: BTreeMap::new(),
            admission: PolicyFile::default(),
            signing_key: None,
            signing_passphrase_file: None,
            trusted_keys: None,
            require_signatures: None,
        }
    }
}

/// The configuration in force, for one hypervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What the configuration calls the hypervisor, if it was chosen by its name.
    pub name: Option<HypervisorName>,
    /// The libvirt connection.
    pub uri: String,
    /// Whether its own programs are run by sudo.
    pub sudo: bool,
    /// The pool for templates and clones.
    pub pool: String,
    /// Where in that pool volumes are made, if it is a logical one; none leaves it to the pool.
    pub thin_pool: Option<ThinChoice>,
    /// The libvirt network for templates and clones.
    pub network: String,
    /// The same, where somebody has named it: then clones are plugged into it, whatever their template's is.
    pub named_network: Option<String>,
    /// How long a hypervisor that is another machine has to answer when it is connected to.
    pub connect_timeout: Span,
    /// The template that `tpl clone` takes when none is named.
    pub template: Option<TemplateName>,
    /// The Debian mirror, where one is named.
    pub debian_mirror: Option<String>,
    /// The mirror of Debian's security archive, where one is named.
    pub debian_security_mirror: Option<String>,
    /// Where downloads are kept.
    pub cache: PathBuf,
    /// A folder of pipelines, besides the usual ones.
    pub pipelines: Option<PathBuf>,
    /// The DNS providers, by the names that they are called by.
    pub dns: BTreeMap<Label, ProviderConfig>,
    /// How much of a hypervisor may be promised.
    pub policy: Policy,
    /// Who signs, and whose signatures count.
    pub signing: Signing,
}

/// Reads a configuration file's text. `file` names it in errors.
///
/// # Errors
/// [`Invalid`]: every fault at once, each with line and column.
pub fn parse(file: &str, text: &str) -> Result<ConfigFile, Invalid> {
    let mut document = Document::parse(file, text)?;
    // A provider's keys must fit each other: that says nothing of a key that stands alone.
    document.check::<ConfigFile<ProviderTable>>();
    for (name, table) in document.entries::<ProviderTable>("dns") {
        if let Err(message) = ProviderConfig::try_from(table) {
            document.add_at(&["dns", &name, "kind"], message);
        }
    }
    for (name, hypervisor) in document.entries::<HypervisorFile>("hypervisors") {
        for (key, message) in hypervisor.faults() {
            document.add_at(&["hypervisors", &name, key], message);
        }
    }
    document.read()
}

impl ConfigFile {
    /// This file's settings, where it has them, over an earlier one's.
    #[must_use]
    pub fn over(self, earlier: Self) -> Self {
        Self {
            uri: self.uri.or(earlier.uri),
            // It is a part of the pool that the same file names.
            thin_pool: if self.pool.is_some() { self.thin_pool } else { self.thin_pool.or(earlier.thin_pool) },
            pool: self.pool.or(earlier.pool),
            network: self.network.or(earlier.network),
            connect_timeout: self.connect_timeout.or(earlier.connect_timeout),
            hypervisor: self.hypervisor.or(earlier.hypervisor),
            // A hypervisor is replaced whole: half of one and half of another would be neither.
            hypervisors: earlier.hypervisors.into_iter().chain(self.hypervisors).collect(),
            template: self.template.or(earlier.template),
            debian_mirror: self.debian_mirror.or(earlier.debian_mirror),
            debian_security_mirror: self.debian_security_mirror.or(earlier.debian_security_mirror),
            cache: self.cache.or(earlier.cache),
            pipelines: self.pipelines.or(earlier.pipelines),
            // So is a provider.
            dns: earlier.dns.into_iter().chain(self.dns).collect(),
            admission: self.admission.over(earlier.admission),
            signing_key: self.signing_key.or(earlier.signing_key),
            signing_passphrase_file: self.signing_passphrase_file.or(earlier.signing_passphrase_file),
            trusted_keys: self.trusted_keys.or(earlier.trusted_keys),
            require_signatures: self.require_signatures.or(earlier.require_signatures),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_file_wins_key_by_key() {
        let system = parse("a", "pool = \"fast\"\nnetwork = \"lab\"").unwrap();
        let user = parse("b", "pool = \"mine\"").unwrap();
        let config = user.over(system).complete(&Given::default()).unwrap();
        assert_eq!((config.pool.as_str(), config.network.as_str(), config.uri.as_str()), ("mine", "lab", "qemu:///system"));
    }

    #[test]
    fn a_dns_provider_is_replaced_whole() {
        let provider = |name: &str, file: &str| format!("[dns.{name}]\nkind = \"hosts-file\"\nfile = \"{file}\"\n");
        let system =
            parse("a", &format!("{}domain = \"old.example\"\n{}", provider("lab", "/a"), provider("all", "/b"))).unwrap();
        let user = parse("b", &provider("lab", "/c")).unwrap();
        let config = user.over(system).complete(&Given::default()).unwrap();
        let expected = parse("c", &(provider("all", "/b") + &provider("lab", "/c"))).unwrap();
        assert_eq!(config.dns, expected.dns);
    }

    #[test]
    fn the_example_says_every_key() {
        let example = parse("config.toml", include_str!("../../docs/examples/config.toml")).unwrap();
        // Taken apart by name, so that a new key cannot be forgotten in the example.
        let ConfigFile {
            uri,
            pool,
            thin_pool,
            network,
            connect_timeout,
            hypervisor,
            hypervisors,
            template,
            debian_mirror,
            debian_security_mirror,
            cache,
            pipelines,
            dns,
            admission: PolicyFile { cpu_overcommit, cap },
            signing_key,
            signing_passphrase_file,
            trusted_keys,
            require_signatures,
        } = example;
        let words = [uri, pool, network, debian_mirror, debian_security_mirror].map(|word| word.unwrap().as_str().to_owned());
        let urls = ["http://mirror.example/debian", "http://mirror.example/debian-security"];
        assert_eq!(words, ["qemu:///system", "default", "default", urls[0], urls[1]]);
        assert_eq!(template.unwrap().as_str(), "debian13");
        assert_eq!(thin_pool, Some(ThinChoice::Thick));
        assert_eq!((hypervisor.unwrap().as_str(), connect_timeout.unwrap().to_string().as_str()), ("hv1", "30s"));
        let of = |name: &str| {
            let HypervisorFile { uri, pool, thin_pool, network, ssh_key, sudo, cpu_overcommit, cap } =
                &hypervisors[&name.parse().unwrap()];
            let words = [pool.is_some(), thin_pool.is_some(), network.is_some(), ssh_key.is_some(), sudo.is_some()];
            (uri.as_str().to_owned(), words, [cpu_overcommit.is_some(), cap.is_some()])
        };
        assert_eq!(hypervisors.len(), 2);
        assert_eq!(of("hv1"), ("qemu:///system".to_owned(), [false; 5], [false; 2]));
        assert_eq!(of("hv2"), ("qemu+ssh://admin@hv2.example/system".to_owned(), [true; 5], [true; 2]));
        assert_eq!([cache, pipelines], ["/var/cache/tpl", "/srv/tpl/pipelines"].map(|path| Some(PathBuf::from(path))));
        assert_eq!((cpu_overcommit.unwrap().percent(), cap.unwrap().percent()), (200, 90));
        let files = ["/etc/tpl/tpl.key", "/etc/tpl/tpl.passphrase"].map(|path| Some(PathBuf::from(path)));
        assert_eq!(([signing_key, signing_passphrase_file], require_signatures), (files, Some(false)));
        assert_eq!(trusted_keys.unwrap().len(), 1);
        let kind = |provider: &ProviderConfig| match provider {
            ProviderConfig::HostsFile(_) => "hosts-file",
            ProviderConfig::Rfc2136(_) => "rfc2136",
            ProviderConfig::Libvirt(_) => "libvirt",
        };
        let providers: Vec<_> = dns.iter().map(|(name, provider)| (name.as_str(), kind(provider))).collect();
        assert_eq!(providers, [("dnsmasq", "hosts-file"), ("libvirt", "libvirt"), ("ns1", "rfc2136")]);
    }

    #[test]
    fn a_hypervisor_is_replaced_whole() {
        let system =
            "hypervisor = 'a'\n[hypervisors.a]\nuri = 'qemu://a/system'\ncap = 50\n[hypervisors.b]\nuri = 'qemu://b/system'";
        let user = "hypervisor = 'b'\n[hypervisors.a]\nuri = 'qemu://c/system'\n";
        let both = parse("b", user).unwrap().over(parse("a", system).unwrap());
        let expected = parse("c", &format!("{user}[hypervisors.b]\nuri = 'qemu://b/system'")).unwrap();
        assert_eq!(both, expected);
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_place() {
        let text = "pool = 1
plool = 'x'
hypervisor = 'HV1'
[admission]
cap = 0
[hypervisors.hv1]
pool = 'a b'
cpu_overcommit = 'x'
[hypervisors.'h v']
uri = 'qemu:///system'
[hypervisors.hv2]
uri = 'qemu:///system'
ssh_key = '/k'
caps = 1
[[hypervisors.hv3]]
uri = 'qemu:///system'
[dns.lab]
kind = 'hosts-file'
[dns.two]
kind = 'libvirt'
ttl = 1
[dns.three]
kind = 'x'
file = 'y'
";
        let said = parse("c", text).unwrap_err().findings;
        let said: Vec<String> = said.iter().map(|finding| finding.to_string().chars().take(64).collect()).collect();
        let expected = [
            "c:1:8: invalid type: integer `1`, expected a string",
            "c:2:1: unknown field `plool`, expected one of `uri`, `pool`, `th",
            "c:3:14: \"HV1\" is no name of a hypervisor: 1 to 63 lower-case let",
            "c:5:7: cap is 0: 1 to 100 percent are possible",
            "c:6:1: missing field `uri`",
            "c:7:8: \"a b\" is not one plain word: letters, digits and + - . _ ",
            "c:8:18: invalid type: string \"x\", expected a number, as in 1.5",
            "c:9:14: \"h v\" is no name of a hypervisor: 1 to 63 lower-case let",
            "c:13:1: qemu:///system does not go over SSH: a key is for qemu+s",
            "c:14:1: unknown field `caps`, expected one of `uri`, `pool`, `th",
            "c:15:1: invalid type: sequence, expected a table",
            "c:18:1: a provider of kind \"hosts-file\" needs either `file` or `",
            "c:20:1: a provider of kind \"libvirt\" has no key `ttl`: there are",
            "c:23:8: unknown variant `x`, expected one of `hosts-file`, `rfc2",
            "c:24:8: \"y\" is no absolute path",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn an_unknown_key_has_its_place() {
        let error = parse("config.toml", "\nplool = 1").unwrap_err().to_string();
        assert!(error.starts_with("config.toml:2:1: unknown field `plool`, expected one of "), "{error}");
    }
}
