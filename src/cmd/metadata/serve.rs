//! `tpl metadata serve`.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    cli::{Global, ServeArgs},
    cmd::settings,
    core::{
        config::Config,
        error::{Advised, Invalid, Refusal},
        facts::is_local,
        imds::{defaults::Defaults, nocloud, unit},
        metadata::ready::Ready,
        secret::Secret,
        seed::handed::HandedSeed,
    },
    host::{
        guest_files,
        hypervisor::Hypervisor as _,
        identity,
        imds::{
            control::Settings,
            keeper::{self, Service},
            log,
            once::Once,
        },
        libvirt::Libvirt,
        local,
    },
};

/// What other domains are told, unless the call names another file.
const DEFAULTS: &str = "/etc/tpl/metadata.toml";
/// Who answers guests, the first of them that there is.
const USERS: [&str; 2] = [unit::USER, "nobody"];

/// Runs `tpl metadata serve`.
///
/// # Errors
/// [`Refusal`]: not by root, or not on this machine. [`Invalid`]: the file with the defaults is wrong.
pub fn run(global: &Global, args: &ServeArgs) -> Result<()> {
    let config = settings::load(global)?;
    check(&config, args)?;
    if !rustix::process::geteuid().is_root() {
        let advice = "run it by sudo, or let systemd run it: tpl metadata install";
        return Err(Refusal::new("only root can put an address on a bridge, and listen there").advise(advice).into());
    }
    let user = user(args)?;
    let once = Once::in_folder(args.state.clone())?;
    let (networks, bridges) = served(args, &config);
    let (stop, reload) = local::service_signals()?;
    let _log = log::begin();
    if let Err(error) = defined(&config).and_then(|defined| once.keep_only(&defined)) {
        tracing::warn!(error = format!("{error:#}"), "what was handed out to domains that are gone is not forgotten yet");
    }
    let noting = config.clone();
    let service = Service {
        uri: &config.uri,
        deadline: config.connect_timeout,
        networks: &networks,
        bridges: &bridges,
        hops: args.hop_limit,
        status_port: args.status_port,
        user,
        settings: Settings { host: local::host_name(), require_token: args.require_token, key: identity::random()? },
        start: u32::from_be_bytes(identity::random()?),
        once,
        defaults: &|| defaults(args.config.as_deref()).map(|(defaults, _)| defaults),
        reload: &reload,
        ready: Arc::new(move |instance, domain, keys| note_ready(&noting, instance, domain, keys)),
    };
    keeper::run(&service, &stop)
}

/// That it could begin, as far as that can be said without beginning. The files that it would read.
///
/// # Errors
/// [`Refusal`]: it is another machine that is spoken with. [`Invalid`]: the file with the defaults is wrong.
pub fn check(config: &Config, args: &ServeArgs) -> Result<Vec<PathBuf>> {
    if !is_local(&config.uri) {
        let reason = format!("{} is another machine, and its guests ask that one", config.uri);
        return Err(Refusal::new(reason).advise("run it there").into());
    }
    defaults(args.config.as_deref()).map(|(_, files)| files)
}

/// Networks and bridges; without a word about either the network that clones are plugged into.
pub fn served(args: &ServeArgs, config: &Config) -> (Vec<String>, Vec<String>) {
    let networks =
        if args.network.is_empty() && args.bridge.is_empty() { vec![config.network.clone()] } else { args.network.clone() };
    (networks, args.bridge.clone())
}

/// Who answers guests.
///
/// # Errors
/// [`Invalid`]: there is no such user, or it is root.
pub fn user(args: &ServeArgs) -> Result<Option<(u32, u32)>> {
    let named = args.user.as_ref().map(|user| user.as_str());
    for name in named.iter().chain(USERS.iter().filter(|_| named.is_none())) {
        match local::user(name)? {
            Some((0, _)) => return Err(Invalid::argument(format!("{name} is root: guests are not answered by root")).into()),
            Some(user) => return Ok(Some(user)),
            None => {}
        }
    }
    Err(Invalid::argument(format!("there is no user {}", named.unwrap_or(USERS[1]))).into())
}

/// The UUIDs of all domains.
fn defined(config: &Config) -> Result<BTreeSet<Uuid>> {
    let libvirt = Libvirt::open(&config.uri, config.connect_timeout)?;
    Ok(libvirt.domains()?.into_iter().map(|domain| domain.uuid).collect())
}

/// What domains are told that tpl has not made, and the files that say it. The usual file need not be there, one that is named must.
fn defaults(named: Option<&Path>) -> Result<(Defaults, Vec<PathBuf>)> {
    let path = named.map_or_else(|| PathBuf::from(DEFAULTS), Path::to_owned);
    let is_missing =
        |error: &anyhow::Error| error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound);
    let bytes = match guest_files::told(&path, false) {
        Ok(bytes) => bytes,
        Err(error) if is_missing(&error) && named.is_none() => return Ok(Default::default()),
        Err(error) => return Err(Invalid::file(&path.display().to_string(), format!("it cannot be read: {error:#}")).into()),
    };
    let text = String::from_utf8(bytes).map_err(|_| Invalid::file(&path.display().to_string(), "it is no UTF-8".to_owned()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let files = RefCell::new(vec![path.clone()]);
    let read = |file: &Path, private: bool| {
        let file = folder.join(file);
        files.borrow_mut().push(file.clone());
        guest_files::told(&file, private).map_err(|error| format!("{error:#}"))
    };
    let defaults = Defaults::parse(&path.display().to_string(), &text, &read)?;
    Ok((defaults, files.into_inner()))
}

/// Takes the secrets out of the seed that is kept for a clone, and notes that it is ready. Whether there is such a clone.
fn note_ready(config: &Config, instance: Uuid, domain: &str, ssh_host_keys: Vec<String>) -> Result<bool> {
    let libvirt = Libvirt::open(&config.uri, config.connect_timeout)
        .map_err(|error| Advised::new(error, "the guest is told to report again"))?;
    if libvirt.domain(domain)?.is_none_or(|found| found.uuid != instance) {
        return Ok(false);
    }
    // First the secrets: a report that is noted is not noted again.
    if let Some(value) = libvirt.seed(instance)? {
        let seed = HandedSeed::parse(&value)?;
        let spent = HandedSeed { user_data: Secret::new(nocloud::NOTHING.to_owned()), ..seed };
        libvirt.store_seed(instance, domain, &spent.to_bytes()?)?;
    }
    libvirt.mark_ready(domain, &Ready { at: Timestamp::now(), instance, ssh_host_keys })?;
    Ok(true)
}
