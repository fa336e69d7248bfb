//! Which hypervisor is meant, and with what: flags over the hypervisor's own table over what a file says for all.

use std::time::Duration;

use super::{Config, ConfigFile, HypervisorFile, HypervisorName, Signing};
use crate::core::{
    capacity::{Policy, PolicyFile},
    error::Invalid,
    pipeline::Word,
    transport::check_password,
    units::Span,
};

/// Long enough for a machine at the other end of the world that is busy; nobody who waits longer expects an answer.
const CONNECT_TIMEOUT: Span = Span(Duration::from_secs(30));

/// What flags and the environment say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Which hypervisor.
    pub target: Option<Target>,
    /// The pool.
    pub pool: Option<String>,
    /// The network.
    pub network: Option<String>,
    /// How much may be promised.
    pub admission: PolicyFile,
    /// How long a hypervisor that is another machine has to answer.
    pub connect_timeout: Option<Span>,
}

/// A hypervisor, as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// By its connection.
    Connection(String),
    /// By its name in the configuration.
    Named(HypervisorName),
}

impl ConfigFile {
    /// The configuration in force, with defaults for what is absent.
    ///
    /// # Errors
    /// [`Invalid`] with the names there are, for one that is not among them.
    pub fn complete(self, given: &Given) -> Result<Config, Invalid> {
        let chosen = match (&given.target, &self.hypervisor) {
            (Some(Target::Connection(_)), _) | (None, None) => None,
            (Some(Target::Named(name)), _) | (None, Some(name)) => Some((name.clone(), self.entry(name)?.clone())),
        };
        let text = |word: &Option<Word>| word.as_ref().map(|word| word.as_str().to_owned());
        let (name, entry) = chosen.unzip();
        let of_entry = |key: fn(&HypervisorFile) -> &Option<Word>| entry.as_ref().and_then(|entry| text(key(entry)));
        let named_network = given.network.clone().or_else(|| of_entry(|entry| &entry.network)).or_else(|| text(&self.network));
        // A thin pool is a part of the pool that is named beside it.
        let thin_pool = match &entry {
            Some(entry) if entry.pool.is_some() || entry.thin_pool.is_some() => entry.thin_pool.clone(),
            _ => self.thin_pool,
        };
        let pool = of_entry(|entry| &entry.pool).or_else(|| text(&self.pool)).unwrap_or_else(|| "default".to_owned());
        let thin_pool = thin_pool.filter(|_| given.pool.as_ref().is_none_or(|given| *given == pool));
        let pool = given.pool.clone().unwrap_or(pool);
        let uri = match &given.target {
            Some(Target::Connection(uri)) => Some(uri.clone()),
            _ => entry.as_ref().map(HypervisorFile::connection).or_else(|| text(&self.uri)),
        };
        if let Some(uri) = &uri {
            check_password(uri).map_err(Invalid::argument)?;
        }
        let admission = entry.as_ref().map_or_else(PolicyFile::default, HypervisorFile::admission);
        Ok(Config {
            name,
            uri: uri.unwrap_or_else(|| "qemu:///system".to_owned()),
            sudo: entry.as_ref().and_then(|entry| entry.sudo).unwrap_or(false),
            thin_pool,
            pool,
            network: named_network.clone().unwrap_or_else(|| "default".to_owned()),
            named_network,
            connect_timeout: given.connect_timeout.or(self.connect_timeout).unwrap_or(CONNECT_TIMEOUT),
            template: self.template,
            debian_mirror: text(&self.debian_mirror),
            debian_security_mirror: text(&self.debian_security_mirror),
            cache: self.cache.unwrap_or_else(|| "/var/cache/tpl".into()),
            pipelines: self.pipelines,
            dns: self.dns,
            policy: Policy::of(given.admission.over(admission).over(self.admission)),
            signing: Signing {
                key: self.signing_key.unwrap_or_else(|| "/etc/tpl/tpl.key".into()),
                passphrase: None,
                passphrase_file: self.signing_passphrase_file,
                trusted: self.trusted_keys.unwrap_or_default(),
                folders: Vec::new(),
                required: self.require_signatures.unwrap_or(false),
            },
        })
    }

    /// The configurations of these hypervisors, in their order; where none is named, of the one that is meant then.
    ///
    /// # Errors
    /// [`Invalid`] as for [`Self::complete`]; or two of them are the same.
    pub fn named(self, names: &[HypervisorName], given: &Given) -> Result<Vec<Config>, Invalid> {
        if names.len() < 2 {
            return Ok(vec![self.complete(given)?]);
        }
        self.of_each(names, given)
    }

    /// The configurations of these hypervisors, in their order.
    ///
    /// # Errors
    /// [`Invalid`] as for [`Self::complete`]; or two of them are the same.
    pub fn of_each(&self, names: &[HypervisorName], given: &Given) -> Result<Vec<Config>, Invalid> {
        let mut configs: Vec<Config> = Vec::with_capacity(names.len());
        for name in names {
            let target = Some(Target::Named(name.clone()));
            let config = self.clone().complete(&Given { target, ..given.clone() })?;
            ensure_another(&configs, &config)?;
            configs.push(config);
        }
        Ok(configs)
    }

    /// The configuration of each hypervisor: those that have a name, by their names, and the one that is meant when none is named,
    /// if its connection is not among theirs.
    ///
    /// # Errors
    /// [`Invalid`] as for [`Self::complete`].
    pub fn each(self, given: &Given) -> Result<Vec<Config>, Invalid> {
        let default = self.clone().complete(given)?;
        let named = |name: &HypervisorName| {
            let target = Some(Target::Named(name.clone()));
            self.clone().complete(&Given { target, ..given.clone() })
        };
        let mut all: Vec<Config> = self.hypervisors.keys().map(named).collect::<Result<_, _>>()?;
        if all.iter().all(|config| config.uri != default.uri) {
            all.push(default);
        }
        Ok(all)
    }

    fn entry(&self, name: &HypervisorName) -> Result<&HypervisorFile, Invalid> {
        self.hypervisors.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.hypervisors.keys().map(HypervisorName::as_str).collect();
            let there = match names.as_slice() {
                [] => format!("none has a name; [hypervisors.{name}] in config.toml would be one"),
                names => format!("there are: {}", names.join(", ")),
            };
            Invalid::argument(format!("there is no hypervisor {name} in the configuration\n{there}"))
        })
    }
}

impl Config {
    /// What the hypervisor is called: its name in the configuration; else its connection.
    pub fn hypervisor(&self) -> &str {
        self.name.as_ref().map_or(&self.uri, HypervisorName::as_str)
    }
}

/// That a hypervisor is none of those that are known already: over one connection they would be in each other's way.
fn ensure_another(known: &[Config], config: &Config) -> Result<(), Invalid> {
    let Some(same) = known.iter().find(|known| known.uri == config.uri) else { return Ok(()) };
    let name = config.hypervisor();
    Err(Invalid::argument(match same.name == config.name {
        true => format!("hypervisor {name} is named twice"),
        false => format!("{} and {name} are one hypervisor: both are {}", same.hypervisor(), config.uri),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use crate::core::lvm::ThinChoice;

    const TEXT: &str = "uri = 'qemu:///system'
pool = 'all'
[admission]
cap = 80
cpu_overcommit = 2
[hypervisors.hv1]
uri = 'qemu+ssh://hv1/system'
pool = 'fast'
network = 'lab'
ssh_key = '/k'
cap = 50
[hypervisors.hv2]
uri = 'qemu://hv2/system'
";

    fn named(name: &str) -> Option<Target> {
        Some(Target::Named(name.parse().unwrap()))
    }

    /// Hypervisor, connection, pool, network if one is named, overcommit and cap in percent.
    fn said(config: &Config) -> String {
        let Policy { cpu_overcommit, cap } = config.policy;
        let network = config.named_network.as_deref().unwrap_or("-");
        let (overcommit, cap) = (cpu_overcommit.percent(), cap.percent());
        format!("{} {} {} {network} {overcommit} {cap}", config.hypervisor(), config.uri, config.pool)
    }

    #[test]
    fn the_nearest_word_counts() {
        let connection = |uri: &str| Some(Target::Connection(uri.to_owned()));
        let flags = PolicyFile { cap: Some("70".parse().unwrap()), cpu_overcommit: None };
        let all = Given {
            pool: Some("p".to_owned()),
            network: Some("n".to_owned()),
            admission: flags,
            target: named("hv1"),
            connect_timeout: None,
        };
        let on = |target| Given { target, ..Given::default() };
        let table = [
            ("", on(None), "qemu:///system qemu:///system all - 200 80"),
            ("hypervisor = 'hv2'\n", on(None), "hv2 qemu://hv2/system all - 200 80"),
            ("", on(named("hv1")), "hv1 qemu+ssh://hv1/system?keyfile=/k fast lab 200 50"),
            ("hypervisor = 'hv2'\n", on(named("hv1")), "hv1 qemu+ssh://hv1/system?keyfile=/k fast lab 200 50"),
            ("", all.clone(), "hv1 qemu+ssh://hv1/system?keyfile=/k p n 200 70"),
            // A connection is nobody's entry, even if it is written like one's.
            ("hypervisor = 'hv1'\n", on(connection("qemu://hv2/system")), "qemu://hv2/system qemu://hv2/system all - 200 80"),
        ];
        for (head, given, expected) in table {
            let config = parse("c", &format!("{head}{TEXT}")).unwrap().complete(&given).unwrap();
            assert_eq!(said(&config), expected, "{head}");
        }
    }

    #[test]
    fn a_thin_pool_goes_with_the_pool_that_is_named_beside_it() {
        let thick = Some(ThinChoice::Thick);
        let pool = |name: &str| Some(ThinChoice::Pool(name.to_owned()));
        let table = [
            ("thin_pool = 't'", None, pool("t")),
            ("thin_pool = 't'", Some("p"), None),
            // Naming the same pool once more puts nothing aside.
            ("thin_pool = 't'", Some("default"), pool("t")),
            ("pool = 'p'\nthin_pool = 't'", Some("p"), pool("t")),
            ("pool = 'p'\nthin_pool = 't'", Some("default"), None),
            ("hypervisor = 'a'\n[hypervisors.a]\nuri = 'qemu:///system'\npool = 'q'\nthin_pool = 'u'", Some("q"), pool("u")),
            ("pool = 'p'\nhypervisor = 'a'\n[hypervisors.a]\nuri = 'qemu:///system'\nthin_pool = 'u'", Some("p"), pool("u")),
            ("thin_pool = 't'\nhypervisor = 'a'\n[hypervisors.a]\nuri = 'qemu:///system'", None, pool("t")),
            ("thin_pool = 't'\nhypervisor = 'a'\n[hypervisors.a]\nuri = 'qemu:///system'\nthin_pool = ''", None, thick.clone()),
            ("thin_pool = 't'\nhypervisor = 'a'\n[hypervisors.a]\nuri = 'qemu:///system'\npool = 'q'", None, None),
            ("hypervisor = 'a'\n[hypervisors.a]\nuri = 'qemu:///system'\npool = 'q'\nthin_pool = 'u'", None, pool("u")),
        ];
        for (text, flag, expected) in table {
            let given = Given { pool: flag.map(str::to_owned), ..Given::default() };
            assert_eq!(parse("c", text).unwrap().complete(&given).unwrap().thin_pool, expected, "{text}");
        }
        let over = |user: &str| parse("b", user).unwrap().over(parse("a", "pool = 'p'\nthin_pool = 't'").unwrap()).thin_pool;
        assert_eq!([over(""), over("pool = 'q'"), over("thin_pool = ''")], [pool("t"), None, thick]);
        let bad = parse("c", "thin_pool = 'a b'").unwrap_err().to_string();
        assert_eq!(bad, "c:1:13: \"a b\" is no name of a thin pool: letters, digits and + _ . - are possible; \"\" means none");
    }

    #[test]
    fn a_password_is_refused_wherever_it_comes_from() {
        let secret = "qemu+ssh://root:secret@hv1/system";
        let flag = Given { target: Some(Target::Connection(secret.to_owned())), ..Given::default() };
        for (text, given) in [(String::new(), flag), (format!("uri = '{secret}'"), Given::default())] {
            let error = parse("c", &text).unwrap().complete(&given).unwrap_err().to_string();
            assert!(error.starts_with("\"qemu+ssh://root@hv1/system\" has a password in it"), "{error}");
        }
        let table = parse("c", &format!("[hypervisors.a]\nuri = '{secret}'")).unwrap_err().to_string();
        assert!(table.contains("has a password in it") && !table.contains("secret"), "{table}");
    }

    #[test]
    fn an_unknown_name_says_which_there_are() {
        let cases = [
            (TEXT, "there is no hypervisor hv9 in the configuration\nthere are: hv1, hv2"),
            (
                "",
                "there is no hypervisor hv9 in the configuration\nnone has a name; [hypervisors.hv9] in config.toml would be one",
            ),
        ];
        for (text, expected) in cases {
            let given = Given { target: named("hv9"), ..Given::default() };
            assert_eq!(parse("c", text).unwrap().complete(&given).unwrap_err().to_string(), expected);
            let by_default = parse("c", &format!("hypervisor = 'hv9'\n{text}")).unwrap();
            assert_eq!(by_default.complete(&Given::default()).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn several_are_named_in_their_order_and_none_twice() {
        let of = |head: &str, names: &[&str]| {
            let names: Vec<HypervisorName> = names.iter().map(|name| name.parse().unwrap()).collect();
            let target = names.first().cloned().map(Target::Named);
            let text = format!("{head}{TEXT}[hypervisors.same]\nuri = 'qemu://hv2/system'\n");
            let all = parse("c", &text).unwrap().named(&names, &Given { target, ..Given::default() });
            all.map(|all| all.iter().map(said).collect::<Vec<_>>().join(", ")).map_err(|error| error.to_string())
        };
        let (hv1, hv2) = ("hv1 qemu+ssh://hv1/system?keyfile=/k fast lab 200 50", "hv2 qemu://hv2/system all - 200 80");
        assert_eq!(of("hypervisor = 'hv2'\n", &[]), Ok(hv2.to_owned()));
        assert_eq!(of("", &["hv1"]), Ok(hv1.to_owned()));
        assert_eq!(of("", &["hv2", "hv1"]), Ok(format!("{hv2}, {hv1}")));
        assert_eq!(of("", &["hv1", "hv2", "hv1"]), Err("hypervisor hv1 is named twice".to_owned()));
        assert_eq!(of("", &["hv2", "same"]), Err("hv2 and same are one hypervisor: both are qemu://hv2/system".to_owned()));
        assert!(of("", &["hv1", "hv9"]).unwrap_err().starts_with("there is no hypervisor hv9 in the configuration\n"));
    }

    #[test]
    fn each_hypervisor_is_asked_once() {
        let names = |head: &str, target: Option<Target>| -> Vec<String> {
            let all = parse("c", &format!("{head}{TEXT}")).unwrap().each(&Given { target, ..Given::default() }).unwrap();
            all.iter().map(|config| config.hypervisor().to_owned()).collect()
        };
        assert_eq!(names("", None), ["hv1", "hv2", "qemu:///system"]);
        assert_eq!(names("hypervisor = 'hv1'\n", None), ["hv1", "hv2"]);
        assert_eq!(names("", named("hv2")), ["hv1", "hv2"]);
        assert_eq!(names("", Some(Target::Connection("qemu://hv2/system".to_owned()))), ["hv1", "hv2"]);
        assert_eq!(ConfigFile::default().each(&Given::default()).unwrap().len(), 1);
    }
}
