//! The phase `register`: the hypervisor in tpl's own configuration, and the proof that tpl can work on it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{connect::OwnKey, reached::Reached};
use crate::{
    cli::Global,
    cmd::{settings, world::Opened},
    core::{
        bootstrap::{Item, Step, Wish},
        config::{
            Config,
            edit::{self, Entry},
        },
        error::{Advised, Invalid},
        machine_target::Login,
    },
    host::{config_file, ssh_keys},
    ui,
};

/// The network that libvirt brings along.
const NETWORK: &str = "default";
/// What ssh(1) looks for by itself.
const OWN_KEYS: [&str; 5] = ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"];

/// A hypervisor on its way into the configuration.
#[derive(Clone, Copy)]
pub struct Registering<'a> {
    /// How it is reached.
    pub reached: &'a Reached,
    /// What opens it.
    pub key: &'a OwnKey,
    /// Whether its pool is the one that this call is told of, whatever stands there.
    pub sets_pool: bool,
}

impl Registering<'_> {
    /// Puts it into the configuration, and asks it for its capacity. What was changed; with `dry_run` the text that would be
    /// written.
    ///
    /// # Errors
    /// As for [`Self::check`]; the file cannot be written; or the hypervisor does not answer.
    pub fn run(&self, global: &Global, wish: &Wish, dry_run: bool) -> Result<Vec<String>> {
        let entry = self.entry(wish);
        let name = &wish.record.name;
        let mut changes = Vec::new();
        if let Some(file) = place(wish, &entry)? {
            let shown = file.display().to_string();
            if dry_run {
                let text = edit::with_hypervisor(&shown, &config_file::read(&file)?, name, &entry)?;
                let written = text.map(|content| Step::Write { path: shown, mode: 0o644, content }.describe());
                return Ok(written.into_iter().collect());
            }
            if config_file::edit(&file, |text| Ok(edit::with_hypervisor(&shown, text, name, &entry)?))? {
                changes.push(format!("wrote [hypervisors.{name}] into {shown}"));
            }
            if let Some(other) = self.reached.known.as_ref().filter(|known| *known != name) {
                ui::note(&format!(
                    "it stands in the configuration as {other}, too: remove [hypervisors.{other}] if nobody calls it so"
                ));
            }
        }
        if !dry_run {
            let config = settings::load_others(global, std::slice::from_ref(name))?;
            let config = config.first().with_context(|| format!("{name} is not in the configuration"))?;
            let answer = answers(config).with_context(|| format!("asking {name} for its capacity"));
            ui::note(&format!("{name} answers: {}", answer.map_err(|cause| advised(cause, name.as_str()))?));
        }
        Ok(changes)
    }

    /// That it can be registered, without doing it: for whoever wants to know before all the work.
    ///
    /// # Errors
    /// [`Invalid`]: what is called so in the configuration is another machine, or the file leaves no place for it.
    pub fn check(&self, wish: &Wish) -> Result<()> {
        let entry = self.entry(wish);
        let Some(file) = place(wish, &entry)? else { return Ok(()) };
        edit::with_hypervisor(&file.display().to_string(), &config_file::read(&file)?, &wish.record.name, &entry)?;
        Ok(())
    }

    /// What the configuration is to say.
    fn entry(&self, wish: &Wish) -> Entry {
        let (ssh, user) = (&self.reached.ssh, &self.reached.user);
        let uri = match &self.reached.known {
            // With all that its way takes, also under another name.
            Some(_) => edit::with_user(&self.reached.config.uri, Some(user.as_str())),
            None => format!("qemu+ssh://{}/system", Login { user: user.clone(), host: ssh.host.clone(), port: ssh.port }),
        };
        let key = if ssh.key.is_some() { None } else { private_key(&self.key.private, ssh_keys::own_folder().as_deref()) };
        Entry {
            uri,
            pool: wish.record.pool().to_owned(),
            sets_pool: self.sets_pool,
            network: NETWORK.to_owned(),
            ssh_key: key,
            // A directory's volumes go through libvirt, which asks for no more than its group.
            sudo: user.as_str() != "root" && wish.record.vg.is_some(),
        }
    }
}

/// How it stands with the hypervisor in the configuration, and whether it answers: for `tpl host check`.
pub fn item(reached: &Reached) -> Item {
    let (what, should) = ("tpl capacity", "answers");
    if reached.known.is_none() {
        return Item::compare(what, Some("not in the configuration"), should, Vec::new());
    }
    match answers(&reached.config) {
        Ok(_) => Item::compare(what, Some(should), should, Vec::new()),
        Err(error) => Item::compare(what, Some(&format!("{error:#}")), should, Vec::new()),
    }
}

/// The file that is to be written; none where one says it already. An entry of the system's own file counts, unless this user has
/// another one.
fn place(wish: &Wish, entry: &Entry) -> Result<Option<PathBuf>> {
    let own = settings::own_file()?;
    for file in settings::file_names()?.into_iter().rev() {
        let text = config_file::read(&file)?;
        let shown = file.display().to_string();
        if crate::core::config::parse(&shown, &text)?.hypervisors.contains_key(&wish.record.name) {
            let there = edit::with_hypervisor(&shown, &text, &wish.record.name, entry)?.is_none();
            return Ok((!there).then_some(own));
        }
    }
    Ok(Some(own))
}

/// The private half of a key, where ssh would not find it by itself. One that only an agent has is found by it.
fn private_key(private: &Path, own: Option<&Path>) -> Option<PathBuf> {
    let found_by_ssh = own.is_some_and(|own| OWN_KEYS.iter().any(|name| own.join(name) == private));
    if found_by_ssh || !private.is_file() {
        return None;
    }
    std::path::absolute(private).ok()
}

/// What a hypervisor has, in a few words.
fn answers(config: &Config) -> Result<String> {
    Opened::new(config)?.with(|world| {
        let capacity = world.seen().capacity(config.policy)?;
        let free = capacity.loads().iter().map(|load| format!("{} {}", load.axis.amount(load.free()), load.axis.label()));
        Ok(format!("{} free", free.collect::<Vec<_>>().join(", ")))
    })
}

fn advised(cause: anyhow::Error, name: &str) -> anyhow::Error {
    if cause.chain().any(|cause| cause.is::<Invalid>()) {
        return cause;
    }
    Advised::new(cause, format!("it is in the configuration: `tpl doctor --on {name}` says what is missing")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        bootstrap::{Reboot, Record},
        config,
        transport::Transport,
    };

    #[test]
    fn a_new_name_keeps_the_way_to_the_machine() {
        let config = |uri: &str| config::parse("c", &format!("uri = '{uri}'")).unwrap().complete(&Default::default()).unwrap();
        let key = OwnKey {
            public: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ me".parse().unwrap(),
            private: "/nowhere/id".into(),
        };
        let wish =
            Wish { user: None, key: None, reboot: Reboot::Never, device: None, record: Record::parse("name = 'hv9'").unwrap() };
        let uri = |known: Option<&str>, uri: &str| {
            let config = config(uri);
            let Transport::Ssh(ssh) = Transport::of(&config.uri).unwrap() else { panic!("{uri}") };
            let known = known.map(|name| name.parse().unwrap());
            let reached = Reached { name: "bare".to_owned(), known, ssh, user: "admin".parse().unwrap(), config };
            Registering { reached: &reached, key: &key, sets_pool: false }.entry(&wish).uri
        };
        let way = "qemu+ssh://root@hv1:2222/system?command=/x/ssh";
        assert_eq!(uri(Some("bare1"), way), "qemu+ssh://admin@hv1:2222/system?command=/x/ssh");
        assert_eq!(uri(None, way), "qemu+ssh://admin@hv1:2222/system");
        assert_eq!(uri(None, "qemu+ssh://[2001:db8::7]/system"), "qemu+ssh://admin@[2001:db8::7]/system");
    }

    #[test]
    fn a_key_that_ssh_finds_is_not_named() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join(".ssh");
        std::fs::create_dir(&own).unwrap();
        let make = |path: PathBuf| {
            std::fs::write(&path, "").unwrap();
            path
        };
        let (default, other) = (make(own.join("id_ed25519")), make(own.join("id_hv1")));
        let table = [(default, None), (other.clone(), Some(other)), (own.join("only-in-the-agent"), None)];
        for (file, expected) in table {
            assert_eq!(private_key(&file, Some(&own)), expected, "{}", file.display());
        }
    }
}
