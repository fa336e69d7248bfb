//! The configuration: `/etc/tpl/config.toml`, then `~/.config/tpl/config.toml`, then flags and `TPL_*`.
//!
//! Without any of them everything has a default that works on a host with libvirt's default pool and network.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::{
    capacity::{Policy, PolicyFile},
    dns::config::ProviderConfig,
    error::Invalid,
    names::TemplateName,
    pipeline::Word,
    secret::Secret,
    signing::PublicKey,
    vm_spec::Label,
};

/// What a configuration file may say. Each key may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// The libvirt connection.
    pub uri: Option<Word>,
    /// The pool for templates and clones.
    pub pool: Option<Word>,
    /// The libvirt network for templates and clones.
    pub network: Option<Word>,
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
    pub dns: BTreeMap<Label, ProviderConfig>,
    /// How much of a hypervisor may be promised.
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

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The libvirt connection.
    pub uri: String,
    /// The pool for templates and clones.
    pub pool: String,
    /// The libvirt network for templates and clones.
    pub network: String,
    /// The same, where somebody has named it: then clones are plugged into it, whatever their template's is.
    pub named_network: Option<String>,
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
/// [`Invalid`] with line and column.
pub fn parse(file: &str, text: &str) -> Result<ConfigFile, Invalid> {
    super::toml_text::parse(file, text)
}

impl ConfigFile {
    /// This file's settings, where it has them, over an earlier one's.
    #[must_use]
    pub fn over(self, earlier: Self) -> Self {
        Self {
            uri: self.uri.or(earlier.uri),
            pool: self.pool.or(earlier.pool),
            network: self.network.or(earlier.network),
            template: self.template.or(earlier.template),
            debian_mirror: self.debian_mirror.or(earlier.debian_mirror),
            debian_security_mirror: self.debian_security_mirror.or(earlier.debian_security_mirror),
            cache: self.cache.or(earlier.cache),
            pipelines: self.pipelines.or(earlier.pipelines),
            // A provider is replaced whole: half of one and half of another would be neither.
            dns: earlier.dns.into_iter().chain(self.dns).collect(),
            admission: self.admission.over(earlier.admission),
            signing_key: self.signing_key.or(earlier.signing_key),
            signing_passphrase_file: self.signing_passphrase_file.or(earlier.signing_passphrase_file),
            trusted_keys: self.trusted_keys.or(earlier.trusted_keys),
            require_signatures: self.require_signatures.or(earlier.require_signatures),
        }
    }

    /// The configuration in force, with defaults for what is absent.
    pub fn complete(self) -> Config {
        let word = |word: Option<Word>, default: &str| word.map_or_else(|| default.to_owned(), |w| w.as_str().to_owned());
        let optional = |word: Option<Word>| word.map(|w| w.as_str().to_owned());
        Config {
            uri: word(self.uri, "qemu:///system"),
            pool: word(self.pool, "default"),
            named_network: self.network.as_ref().map(|network| network.as_str().to_owned()),
            network: word(self.network, "default"),
            template: self.template,
            debian_mirror: optional(self.debian_mirror),
            debian_security_mirror: optional(self.debian_security_mirror),
            cache: self.cache.unwrap_or_else(|| "/var/cache/tpl".into()),
            pipelines: self.pipelines,
            dns: self.dns,
            policy: Policy::of(self.admission),
            signing: Signing {
                key: self.signing_key.unwrap_or_else(|| "/etc/tpl/tpl.key".into()),
                passphrase: None,
                passphrase_file: self.signing_passphrase_file,
                trusted: self.trusted_keys.unwrap_or_default(),
                folders: Vec::new(),
                required: self.require_signatures.unwrap_or(false),
            },
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
        let config = user.over(system).complete();
        assert_eq!((config.pool.as_str(), config.network.as_str(), config.uri.as_str()), ("mine", "lab", "qemu:///system"));
    }

    #[test]
    fn a_dns_provider_is_replaced_whole() {
        let provider = |name: &str, file: &str| format!("[dns.{name}]\nkind = \"hosts-file\"\nfile = \"{file}\"\n");
        let system =
            parse("a", &format!("{}domain = \"old.example\"\n{}", provider("lab", "/a"), provider("all", "/b"))).unwrap();
        let user = parse("b", &provider("lab", "/c")).unwrap();
        let config = user.over(system).complete();
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
            network,
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
    fn an_unknown_key_has_its_place() {
        let error = parse("config.toml", "\nplool = 1").unwrap_err().to_string();
        assert!(error.starts_with("config.toml:2:1: unknown field `plool`, expected one of "), "{error}");
    }
}
