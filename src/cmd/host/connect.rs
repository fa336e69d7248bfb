//! From a machine's name to the machine itself: who it is, who logs in, with what.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cli::LoginArgs,
    core::{
        error::{Invalid, Refusal},
        names::UserName,
        secret::Secret,
        ssh_key::PublicKey,
        transport::{
            SshTarget, Transport,
            host_key::{Fingerprint, Learned},
        },
    },
    host::{
        local::Stop,
        machine::{
            Machine, host_key,
            journal::Journal,
            local::LocalMachine,
            ssh::{Reach, SshMachine},
        },
        process::SSH,
        shell::{
            access::{AskPassword, Credentials, Password},
            connection::configured,
        },
        ssh_keys,
    },
    ui,
};

/// No password is longer, and no file with one.
const MAX_PASSWORD: u64 = 1024;

/// A machine that can be logged in to, or this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What operators call it.
    pub name: String,
    /// How it is reached.
    pub transport: Transport,
    /// Who logs in; nobody does on this machine.
    pub user: Option<UserName>,
}

/// The operator's key that is to open machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnKey {
    /// The public half.
    pub public: PublicKey,
    /// The file of the private half, which may be in the agent instead.
    pub private: PathBuf,
}

impl Place {
    /// The machine that a URI of libvirt's leads to.
    ///
    /// # Errors
    /// [`Refusal`]: not over SSH; or nobody says who logs in there.
    pub fn of_uri(name: &str, uri: &str) -> Result<Self> {
        let transport = Transport::of(uri)?;
        let user = match &transport {
            Transport::Local => None,
            Transport::Ssh(target) => Some(user_of(target)?),
        };
        Ok(Self { name: name.to_owned(), transport, user })
    }

    /// This machine.
    pub fn here() -> Self {
        Self { name: "this machine".to_owned(), transport: Transport::Local, user: None }
    }
}

/// Who logs in: whom the URI names, or SSH would by itself.
fn user_of(target: &SshTarget) -> Result<UserName> {
    let user = match (&target.user, &target.command) {
        (Some(user), _) => user.clone(),
        (None, command) => {
            let ssh = command.clone().or_else(|| SSH.path());
            configured(&ssh.context("ssh is not installed; `tpl doctor` says what to install")?, target)?.user
        }
    };
    user.parse().map_err(|why: String| Invalid::argument(why).into())
}

/// Logs in, and becomes root. Nothing is asked that SSH and sudo do not need to know.
///
/// # Errors
/// [`Refusal`]: the host key is another one or not confirmed; nobody gets in, or becomes root. [`Invalid`]: what the operator wrote.
pub fn connect(
    place: &Place,
    args: &LoginArgs,
    key: Option<&OwnKey>,
    journal: &Arc<Journal>,
    stop: &Stop,
) -> Result<Box<dyn Machine>> {
    let Transport::Ssh(target) = &place.transport else {
        return Ok(Box::new(LocalMachine::new(Arc::clone(journal))));
    };
    let expected: Option<Fingerprint> = args
        .host_key
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|why: String| Invalid::argument(format!("--host-key: {why}")))?;
    let ask = asking(args, &place.name, place.user.as_ref())?;
    let name = place.name.clone();
    let confirm = |learned: &Learned| confirmed(&name, learned);
    let (target, pinned) = host_key::check(target.clone(), &place.name, expected.as_ref(), &confirm, journal)?;
    let credentials = Credentials { key: key.map(|key| key.private.clone()), password: Password::new(ask) };
    let reach = Reach { name: place.name.clone(), target, credentials, journal: Arc::clone(journal), stop: stop.clone(), pinned };
    Ok(Box::new(SshMachine::connect(reach)?))
}

/// The operator's key: the first of this file, or of `~/.ssh/*.pub`, an Ed25519 key before others.
///
/// # Errors
/// [`Invalid`]: the file holds no public key. [`Refusal`]: there is none.
pub fn own_key(file: Option<&Path>) -> Result<OwnKey> {
    let key_of = |file: &Path| -> Result<Option<OwnKey>> {
        let public = ssh_keys::read_file(file)?.into_iter().next();
        Ok(public.map(|public| OwnKey { public, private: private_of(file) }))
    };
    if let Some(file) = file {
        return key_of(file)?.context("it holds no key");
    }
    let none = || {
        Refusal::new("there is no SSH key of yours to open the machine with")
            .advise("`ssh-keygen -t ed25519` makes one; --ssh-key names one that lies elsewhere")
    };
    let folder = ssh_keys::own_folder().ok_or_else(none)?;
    let Ok(entries) = fs::read_dir(&folder) else { return Err(none().into()) };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    // A certificate is no key: the key it is for lies beside it.
    let is_key = |name: &str| name.ends_with(".pub") && !name.ends_with("-cert.pub");
    files.retain(|file| file.file_name().is_some_and(|name| is_key(&name.to_string_lossy())));
    files.sort();
    let mut keys: Vec<OwnKey> = files.iter().filter_map(|file| key_of(file).ok().flatten()).collect();
    keys.sort_by_key(|key| !key.public.key().starts_with("ssh-ed25519 "));
    keys.into_iter().next().ok_or_else(|| none().into())
}

/// The file of a private key, beside that of its public half.
fn private_of(public: &Path) -> PathBuf {
    let private = if public.extension().is_some_and(|extension| extension == "pub") {
        public.with_extension("")
    } else {
        public.to_owned()
    };
    // SSH reads it from any folder, and takes a `~` for something else.
    std::path::absolute(&private).unwrap_or(private)
}

/// Where the password comes from. A file is read now: what is wrong with it is told before anything is done.
fn asking(args: &LoginArgs, name: &str, user: Option<&UserName>) -> Result<AskPassword> {
    if let Some(file) = &args.password_file {
        let password = password_in(file)?;
        return Ok(Box::new(move || Ok(password.clone())));
    }
    let who = user
        .map_or_else(|| name.to_owned(), |user| if name.contains('@') { name.to_owned() } else { format!("{user} on {name}") });
    Ok(Box::new(move || {
        ui::secret(&format!("Password of {who}"))?.ok_or_else(|| {
            let reason = format!("a password of {who} is needed, and there is no terminal to ask for it");
            Refusal::new(reason).advise("put a key that opens it into the agent, or name a file with --password-file").into()
        })
    }))
}

/// The password in a file: its first line.
fn password_in(file: &Path) -> Result<Secret<String>> {
    let read = || -> Result<Secret<String>> {
        // A pipe of that name would hang tpl in open().
        let opened = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file)?;
        let data = opened.metadata()?;
        ensure!(data.is_file(), "it is no file");
        let mode = data.permissions().mode() & 0o7777;
        ensure!(mode & 0o077 == 0, "others than its owner can use it: mode {mode:04o}; chmod 600 it");
        let mut text = String::new();
        opened.take(MAX_PASSWORD + 1).read_to_string(&mut text)?;
        let password = text.lines().next().unwrap_or_default();
        ensure!(text.len() as u64 <= MAX_PASSWORD && text.lines().count() == 1 && !password.is_empty(), "it is not one line");
        ensure!(!password.contains('\0'), "it holds a NUL");
        Ok(Secret::new(password.to_owned()))
    };
    read().map_err(|error| Invalid::file(&file.display().to_string(), format!("{error:#}")).into())
}

/// What the operator says of a host that nobody knows; none where nobody is there.
fn confirmed(name: &str, learned: &Learned) -> Result<Option<bool>> {
    let question = format!(
        "The host key of {name} is not known. It shows\n  {} {}\nIs that the machine's?",
        learned.kind, learned.fingerprint
    );
    ui::confirm(&question)
}

#[cfg(test)]
mod tests;
