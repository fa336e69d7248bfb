//! The configuration in force: files, then flags and environment.

use std::{fs, io::ErrorKind, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    cli::Global,
    core::{
        config::{self, Config, ConfigFile, Signing},
        error::Invalid,
        secret::Secret,
    },
};

/// Reads `/etc/tpl/config.toml`, then `~/.config/tpl/config.toml`, and puts flags and `TPL_*` over both.
///
/// # Errors
/// [`Invalid`] with file, line and column.
pub fn load(global: &Global) -> Result<Config> {
    let mut settings = ConfigFile { signing_key: default_key(), ..ConfigFile::default() };
    for path in files() {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        settings = config::parse(&path.display().to_string(), &text)?.over(settings);
    }
    let mut config = settings.complete();
    for (value, setting) in
        [(&global.connect, &mut config.uri), (&global.pool, &mut config.pool), (&global.network, &mut config.network)]
    {
        if let Some(value) = value {
            if value.is_empty() || value.chars().any(char::is_control) {
                let message = format!("{value:?} is no connection, pool or network: it is empty or holds control characters");
                return Err(Invalid::argument(message).into());
            }
            setting.clone_from(value);
        }
    }
    if global.network.is_some() {
        config.named_network.clone_from(&global.network);
    }
    config.policy.cpu_overcommit = global.cpu_overcommit.unwrap_or(config.policy.cpu_overcommit);
    config.policy.cap = global.cap.unwrap_or(config.policy.cap);
    signing(&mut config.signing)?;
    Ok(config)
}

/// What the environment says about keys, and the folders of trusted ones. A passphrase is no flag: all users of a machine can
/// read each other's arguments.
fn signing(signing: &mut Signing) -> Result<()> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
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

fn files() -> Vec<PathBuf> {
    folders().into_iter().map(|folder| folder.join("config.toml")).collect()
}

/// The folders of the configuration, in the order in which they are read.
fn folders() -> Vec<PathBuf> {
    let home =
        std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    let own = home.map(|folder| folder.join("tpl"));
    std::iter::once(PathBuf::from("/etc/tpl")).chain(own).collect()
}
