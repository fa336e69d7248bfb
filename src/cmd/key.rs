//! `tpl key`: the key that published versions are signed with, and the keys that are trusted.

use anyhow::Result;
use serde::Serialize;

use crate::{
    cli::{KeyCommand, KeyGenerateArgs, Output},
    core::{
        config::Config,
        signing::{KeyId, PublicKey},
    },
    host::keys::{KeyFiles, Keys as _},
    ui,
};

/// One key, as `--output json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    key_id: KeyId,
    public_key: PublicKey,
    own: bool,
    from: String,
}

/// Runs `tpl key`.
///
/// # Errors
/// A file cannot be read or written, or is in the way.
pub fn run(config: &Config, command: &KeyCommand, output: Output) -> Result<()> {
    let files = KeyFiles::new(config.signing.clone());
    match command {
        KeyCommand::Generate(args) => generate(&files, args, output),
        KeyCommand::List => list(&files, output),
    }
}

fn generate(files: &KeyFiles, args: &KeyGenerateArgs, output: Output) -> Result<()> {
    if args.dry_run {
        if !args.force {
            files.ensure_free()?;
        }
        let (secret, public) = (files.secret_file().display().to_string(), files.public_file().display().to_string());
        return match output {
            Output::Json => ui::json(&serde_json::json!({"dry_run": true, "secret_key_file": secret, "public_key_file": public})),
            Output::Text => ui::data(&format!("would write {secret} and {public}\n")),
        };
    }
    let written = files.generate(args.force)?;
    let (secret, public) = (written.secret_file.display().to_string(), written.public_file.display().to_string());
    match output {
        Output::Json => ui::json(&serde_json::json!({
            "dry_run": false, "key_id": written.key.id(), "public_key": written.key, "encrypted": written.encrypted,
            "secret_key_file": secret, "public_key_file": public,
        })),
        Output::Text => {
            let kind = if written.encrypted { "encrypted with your passphrase" } else { "not encrypted: keep it to yourself" };
            ui::note(&format!("secret key {secret}, {kind}; public key {public}"));
            ui::note("who trusts it writes it into trusted_keys, or puts the public file into trusted.d");
            ui::data(&format!("{}\n", written.key))
        }
    }
}

fn list(files: &KeyFiles, output: Output) -> Result<()> {
    if let Err(error) = files.ensure_private() {
        ui::note(&format!("nothing can be signed: {error:#}"));
    }
    let row = |trusted: crate::host::keys::TrustedKey| Row {
        key_id: trusted.key.id(),
        public_key: trusted.key,
        own: trusted.own,
        from: trusted.from,
    };
    let rows: Vec<Row> = files.trusted()?.into_iter().map(row).collect();
    match output {
        Output::Json => ui::json(&rows),
        Output::Text if rows.is_empty() => ui::data("there are no keys yet: `tpl key generate` makes one\n"),
        Output::Text => {
            let heading = ["KEY", "WHOSE", "PUBLIC KEY", "FROM"];
            let cells = rows.iter().map(|row| {
                let whose = if row.own { "own" } else { "trusted" };
                vec![row.key_id.to_string(), whose.to_owned(), row.public_key.to_string(), row.from.clone()]
            });
            ui::data(&ui::table(&heading, cells))
        }
    }
}
