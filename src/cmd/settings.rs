//! The configuration in force: files, then flags and environment.

use std::{
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    cli::Global,
    core::{
        capacity::PolicyFile,
        config::{self, Config, ConfigFile, Given, HypervisorName, Signing, Target},
        error::Invalid,
        secret::Secret,
    },
};

/// Names the one file that is read instead of the usual ones.
const FILE: &str = "TPL_CONFIG";

/// The configuration for the hypervisor that a command talks to: `/etc/tpl/config.toml`, over it `~/.config/tpl/config.toml`, or
/// instead of both what `TPL_CONFIG` names; flags and `TPL_*` over all of them.
///
/// # Errors
/// [`Invalid`]: every fault of each file, with line and column; a flag's; a hypervisor that is not configured.
pub fn load(global: &Global) -> Result<Config> {
    let mut configs = load_named(global)?;
    match (configs.pop(), configs.as_slice()) {
        (Some(only), []) => Ok(only),
        _ => {
            let names: Vec<&str> = global.on.iter().map(HypervisorName::as_str).collect();
            let message = format!(
                "{} are {} hypervisors, and this command works on one\nonly `tpl clone` and `tpl destroy VM…` take several; `tpl list`, \
                 `tpl vms` and `tpl capacity` show all with --all",
                names.join(","),
                names.len()
            );
            Err(Invalid::argument(message).into())
        }
    }
}

/// The configurations for the hypervisors that a command names, in its order; for the one that is meant where it names none.
///
/// # Errors
/// As for [`load`]; two names are of one connection.
pub fn load_named(global: &Global) -> Result<Vec<Config>> {
    let mut configs = read()?.named(&global.on, &given(global)?)?;
    configs.iter_mut().try_for_each(|config| signing(&mut config.signing))?;
    Ok(configs)
}

/// The same for each hypervisor that is configured, and the one that would be talked to.
///
/// # Errors
/// As for [`load`].
pub fn load_each(global: &Global) -> Result<Vec<Config>> {
    let mut each = read()?.each(&given(global)?)?;
    each.iter_mut().try_for_each(|config| signing(&mut config.signing))?;
    Ok(each)
}

/// The same for hypervisors by their names. Pool and network are those of their tables: flags are for the one that is talked to.
///
/// # Errors
/// As for [`load`].
pub fn load_others(global: &Global, names: &[HypervisorName]) -> Result<Vec<Config>> {
    let given = Given { pool: None, network: None, ..given(global)? };
    let mut configs = read()?.of_each(names, &given)?;
    configs.iter_mut().try_for_each(|config| signing(&mut config.signing))?;
    Ok(configs)
}

fn read() -> Result<ConfigFile> {
    let mut settings = ConfigFile { signing_key: default_key(), ..ConfigFile::default() };
    let mut findings = Vec::new();
    for (path, needed) in files()? {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && !needed => continue,
            Err(error) if needed => {
                let message = format!("{FILE} names this file, and it cannot be read: {error}");
                return Err(Invalid::file(&path.display().to_string(), message).into());
            }
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        match config::parse(&path.display().to_string(), &text) {
            Ok(file) => settings = file.over(settings),
            Err(invalid) => findings.extend(invalid.findings),
        }
    }
    if findings.is_empty() { Ok(settings) } else { Err(Invalid { findings }.into()) }
}

/// What flags and the environment say.
fn given(global: &Global) -> Result<Given, Invalid> {
    for value in [&global.connect, &global.pool, &global.network].into_iter().flatten() {
        if value.is_empty() || value.chars().any(char::is_control) {
            let message = format!("{value:?} is no connection, pool or network: it is empty or holds control characters");
            return Err(Invalid::argument(message));
        }
    }
    let target = match (global.on.first(), &global.connect) {
        // On the command line the two exclude each other, and what stands there puts the environment's aside.
        (Some(_), Some(_)) => {
            let message =
                "TPL_ON and TPL_URI are both set, and each names a hypervisor\nunset one of them, or say --on or --connect";
            return Err(Invalid::argument(message));
        }
        (Some(name), None) => Some(Target::Named(name.clone())),
        (None, Some(uri)) => Some(Target::Connection(uri.clone())),
        (None, None) => None,
    };
    let admission = PolicyFile { cpu_overcommit: global.cpu_overcommit, cap: global.cap };
    Ok(Given {
        target,
        pool: global.pool.clone(),
        network: global.network.clone(),
        admission,
        connect_timeout: global.connect_timeout,
    })
}

/// The files, later ones over earlier ones, and whether one must be there.
fn files() -> Result<Vec<(PathBuf, bool)>, Invalid> {
    if let Some(file) = env::var_os(FILE) {
        if file.is_empty() {
            return Err(Invalid::argument(format!("{FILE} is empty: it names a file\nunset it for the usual ones")));
        }
        return Ok(vec![(file.into(), true)]);
    }
    Ok(folders().into_iter().map(|folder| (folder.join("config.toml"), false)).collect())
}

/// The files of the configuration, later ones over earlier ones.
///
/// # Errors
/// [`Invalid`]: `TPL_CONFIG` is empty.
pub fn file_names() -> Result<Vec<PathBuf>, Invalid> {
    Ok(files()?.into_iter().map(|(file, _)| file).collect())
}

/// The file that this user writes: what `TPL_CONFIG` names; root the system's, others their own.
///
/// # Errors
/// As for [`file_names`]; or there is no home folder.
pub fn own_file() -> Result<PathBuf> {
    let mut files = file_names()?;
    let own = if rustix::process::getuid().is_root() { files.into_iter().next() } else { files.pop() };
    own.context("finding the configuration: neither XDG_CONFIG_HOME nor HOME is set")
}

/// What the environment says about keys, and the folders of trusted ones. A passphrase is no flag: all users of a machine can
/// read each other's arguments.
fn signing(signing: &mut Signing) -> Result<()> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(file) = set("TPL_SIGNING_KEY") {
        signing.key = file.into();
    }
    if let Some(file) = set("TPL_SIGNING_PASSPHRASE_FILE") {
        signing.passphrase_file = Some(file.into());
    }
    if let Some(text) = set("TPL_SIGNING_PASSPHRASE") {
        let text = text.into_string().map_err(|_| Invalid::argument("TPL_SIGNING_PASSPHRASE is no UTF-8"))?;
        signing.passphrase = Some(Secret::new(text));
    }
    signing.folders = folders().into_iter().map(|folder| folder.join("trusted.d")).collect();
    Ok(())
}

/// Where the signing key is, unless somebody says otherwise: next to the configuration that the user may write.
fn default_key() -> Option<PathBuf> {
    let folders = folders();
    let folder = if rustix::process::getuid().is_root() { folders.first() } else { folders.last() };
    folder.map(|folder| folder.join("tpl.key"))
}

/// The folders of the configuration, in the order in which they are read.
fn folders() -> Vec<PathBuf> {
    if let Some(file) = env::var_os(FILE) {
        let folder = Path::new(&file).parent().map(Path::to_owned);
        return folder.into_iter().collect();
    }
    let home = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| env::home_dir().map(|home| home.join(".config")));
    let own = home.map(|folder| folder.join("tpl"));
    std::iter::once(PathBuf::from("/etc/tpl")).chain(own).collect()
}
