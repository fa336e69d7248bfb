//! The configuration in force: files, then flags and environment.

use std::{fs, io::ErrorKind, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    cli::Global,
    core::{
        config::{self, Config, ConfigFile},
        error::Invalid,
    },
};

/// Reads `/etc/tpl/config.toml`, then `~/.config/tpl/config.toml`, and puts flags and `TPL_*` over both.
///
/// # Errors
/// [`Invalid`] with file, line and column.
pub fn load(global: &Global) -> Result<Config> {
    let mut settings = ConfigFile::default();
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
    Ok(config)
}

fn files() -> Vec<PathBuf> {
    let home =
        std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    let own = home.map(|folder| folder.join("tpl/config.toml"));
    std::iter::once(PathBuf::from("/etc/tpl/config.toml")).chain(own).collect()
}
