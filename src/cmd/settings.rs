//! The configuration in force: files, then flags and environment.

use std::{env, fs, io::ErrorKind, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    cli::Global,
    core::{
        capacity::PolicyFile,
        config::{self, Config, ConfigFile, Given, Target},
        error::Invalid,
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
    Ok(read()?.complete(&given(global)?)?)
}

/// The same for each hypervisor that is configured, and the one that would be talked to.
///
/// # Errors
/// As for [`load`].
pub fn load_each(global: &Global) -> Result<Vec<Config>> {
    Ok(read()?.each(&given(global)?)?)
}

fn read() -> Result<ConfigFile> {
    let mut settings = ConfigFile::default();
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
    let target = match (&global.on, &global.connect) {
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
    Ok(Given { target, pool: global.pool.clone(), network: global.network.clone(), admission })
}

/// The files, later ones over earlier ones, and whether one must be there.
fn files() -> Result<Vec<(PathBuf, bool)>, Invalid> {
    if let Some(file) = env::var_os(FILE) {
        if file.is_empty() {
            return Err(Invalid::argument(format!("{FILE} is empty: it names a file\nunset it for the usual ones")));
        }
        return Ok(vec![(file.into(), true)]);
    }
    let home = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| env::home_dir().map(|home| home.join(".config")));
    let own = home.map(|folder| folder.join("tpl/config.toml"));
    Ok(std::iter::once(PathBuf::from("/etc/tpl/config.toml")).chain(own).map(|path| (path, false)).collect())
}
