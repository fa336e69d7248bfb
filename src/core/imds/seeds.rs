//! The seeds that are kept for clones, from one look at libvirt to the next.
//!
//! A clone's cloud-init takes what it is told for good. So a seed that cannot be looked at now is still the one that it was; and where
//! there is none to fall back to, the clone is told to ask again later: see [`Instance::lacks_seed`](super::instance::Instance).

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::core::{secret::Secret, seed::handed::HandedSeed, xml::read::domain_facts};

/// What libvirt says of the seeds at one look.
#[derive(Debug)]
pub enum Look {
    /// All that it keeps.
    All(Vec<Kept>),
    /// Why it does not say which it keeps.
    Nothing(String),
}

/// A seed that libvirt keeps.
#[derive(Debug)]
pub struct Kept {
    /// Its domain's UUID.
    pub uuid: Uuid,
    /// Its domain's name.
    pub domain: String,
    /// The secret's value, none where it has none; or why that is not said.
    pub value: Result<Option<Secret<Vec<u8>>>, String>,
}

/// What is wrong with a domain's seed; with all of them, where it is no domain's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The domain's name.
    pub domain: Option<String>,
    /// What is wrong.
    pub error: String,
}

/// The seeds by the last look, and what was wrong with them.
#[derive(Debug, Default)]
pub struct Seeds {
    known: BTreeMap<Uuid, HandedSeed>,
    faults: BTreeSet<Fault>,
}

impl Seeds {
    /// Looks again, `running` being the XML of the domains that run. What is wrong now, and was not the last time.
    pub fn look(&mut self, look: Look, running: &[String]) -> Vec<Fault> {
        let mut faults = BTreeSet::new();
        let old = std::mem::take(&mut self.known);
        match look {
            Look::Nothing(error) => {
                let there: BTreeSet<Uuid> =
                    running.iter().filter_map(|xml| domain_facts(xml).ok()).map(|facts| facts.uuid).collect();
                self.known = old.into_iter().filter(|(uuid, _)| there.contains(uuid)).collect();
                faults.insert(Fault { domain: None, error });
            }
            Look::All(all) => {
                for kept in all {
                    let seed = match kept.value {
                        Ok(value) => value.map(|value| HandedSeed::parse(&value)).transpose(),
                        // One that may not be read at the moment is the same as before.
                        Err(error) => {
                            self.known.extend(old.get(&kept.uuid).map(|seed| (kept.uuid, seed.clone())));
                            Err(anyhow::anyhow!(error))
                        }
                    };
                    match seed {
                        Ok(seed) => self.known.extend(seed.map(|seed| (kept.uuid, seed))),
                        // One that is of a later tpl's making is nobody's misfortune but its own.
                        Err(error) => {
                            faults.insert(Fault { domain: Some(kept.domain), error: format!("{error:#}") });
                        }
                    }
                }
            }
        }
        let new = faults.difference(&self.faults).cloned().collect();
        self.faults = faults;
        new
    }

    /// By their domains' UUIDs.
    pub fn known(&self) -> &BTreeMap<Uuid, HandedSeed> {
        &self.known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Uuid = Uuid::from_u128(1);
    const TWO: Uuid = Uuid::from_u128(2);

    fn kept(uuid: Uuid, value: Result<Option<&str>, &str>) -> Kept {
        let value = value.map(|value| value.map(written)).map_err(str::to_owned);
        Kept { uuid, domain: format!("vm{}", uuid.as_u128()), value }
    }

    /// The value of a seed with such meta-data; what is no seed, for a question mark.
    fn written(meta_data: &str) -> Secret<Vec<u8>> {
        let seed = HandedSeed {
            meta_data: meta_data.to_owned(),
            network_config: String::new(),
            user_data: Secret::new(String::new()),
            public_keys: Vec::new(),
        };
        if meta_data == "?" { Secret::new(b"?".to_vec()) } else { seed.to_bytes().unwrap() }
    }

    fn running(all: &[Uuid]) -> Vec<String> {
        let xml = |uuid: &Uuid| {
            format!("<domain type='kvm'><name>x</name><uuid>{uuid}</uuid><memory>1</memory><vcpu>1</vcpu></domain>")
        };
        all.iter().map(xml).collect()
    }

    #[test]
    fn what_is_not_said_stays_and_is_complained_of_once() {
        let all = |kept: Vec<Kept>| Look::All(kept);
        let gone = || Look::Nothing("no daemon".to_owned());
        let no_seed = "vm1: reading a seed for the metadata service: it cannot be read at line 1 column 1";
        let both = running(&[ONE, TWO]);
        let none: &[&str] = &[];
        // One look after the other: what is known then, and what is said.
        let table = [
            ("nothing was known", gone(), &both, vec![], &["all: no daemon"][..]),
            ("two", all(vec![kept(ONE, Ok(Some("a"))), kept(TWO, Ok(Some("b")))]), &both, vec![(ONE, "a"), (TWO, "b")], none),
            ("no answer", gone(), &both, vec![(ONE, "a"), (TWO, "b")], &["all: no daemon"]),
            ("still none", gone(), &both, vec![(ONE, "a"), (TWO, "b")], none),
            ("one is off", gone(), &running(&[ONE]), vec![(ONE, "a")], none),
            ("it is not shown", all(vec![kept(ONE, Err("denied"))]), &both, vec![(ONE, "a")], &["vm1: denied"]),
            ("it is another's", all(vec![kept(ONE, Ok(Some("?")))]), &both, vec![], &[no_seed]),
            ("it still is", all(vec![kept(ONE, Ok(Some("?")))]), &both, vec![], none),
            ("it is written again", all(vec![kept(ONE, Ok(Some("c")))]), &both, vec![(ONE, "c")], none),
            ("and again wrong", all(vec![kept(ONE, Ok(Some("?")))]), &both, vec![], &[no_seed]),
            ("without a value", all(vec![kept(ONE, Ok(None))]), &both, vec![], none),
            ("removed", all(vec![]), &both, vec![], none),
        ];
        let mut seeds = Seeds::default();
        for (case, look, running, known, said) in table {
            let faults = seeds.look(look, running);
            let faults: Vec<String> =
                faults.iter().map(|fault| format!("{}: {}", fault.domain.as_deref().unwrap_or("all"), fault.error)).collect();
            let found: Vec<_> = seeds.known().iter().map(|(uuid, seed)| (*uuid, seed.meta_data.as_str())).collect();
            assert_eq!((found, faults), (known, said.iter().map(|&text| text.to_owned()).collect()), "{case}");
        }
    }
}
