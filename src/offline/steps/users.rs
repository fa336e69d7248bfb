//! The users: made where they are not there, with a home, keys and a password.

use anyhow::{Context as _, Result, anyhow};

use crate::{
    core::{
        accounts::{Accounts, Person, Texts},
        ssh_key::PublicKey,
    },
    host::guest::FileKind,
    offline::{Scene, Step, TEXT_LIMIT, User},
};

pub(super) const STEP: Step = Step { name: "users", run };

/// What a new home begins with.
const SKELETON: &str = "/etc/skel";

fn run(scene: &Scene<'_>) -> Result<()> {
    let users = &scene.identity.users;
    if users.is_empty() {
        return Ok(());
    }
    let old = texts(scene)?;
    let mut accounts = Accounts::parse(&old);
    let shell = if scene.exists("/bin/bash")? { "/bin/bash" } else { "/bin/sh" };
    let mut people = Vec::with_capacity(users.len());
    for user in users {
        people.push(account(&mut accounts, user, shell).map_err(|error| anyhow!(error))?);
    }
    write(scene, &old, &accounts.texts())?;
    for (user, person) in users.iter().zip(&people) {
        home(scene, person).with_context(|| format!("making the home of {}", user.name))?;
        keys(scene, person, user.keys).with_context(|| format!("writing the keys of {}", user.name))?;
    }
    Ok(())
}

/// The guest's account files.
pub(super) fn texts(scene: &Scene<'_>) -> Result<Texts> {
    Ok(Texts {
        passwd: scene.text_if_any("/etc/passwd")?.context("the guest has no /etc/passwd")?,
        shadow: scene.text_if_any("/etc/shadow")?,
        group: scene.text("/etc/group")?,
        gshadow: scene.text_if_any("/etc/gshadow")?,
    })
}

fn account(accounts: &mut Accounts, user: &User<'_>, shell: &str) -> Result<Person, String> {
    let person = accounts.ensure(user.name, shell)?;
    user.groups.iter().try_for_each(|group| accounts.join(user.name, group))?;
    match user.password_hash {
        Some(hash) => accounts.set_password(user.name, hash.expose())?,
        None if !user.keys.is_empty() => accounts.open_to_keys(user.name)?,
        None => {}
    }
    Ok(person)
}

fn write(scene: &Scene<'_>, old: &Texts, new: &Texts) -> Result<()> {
    scene.edit("/etc/passwd", &old.passwd, &new.passwd)?;
    scene.edit("/etc/group", &old.group, &new.group)?;
    for (path, old, new) in [("/etc/shadow", &old.shadow, &new.shadow), ("/etc/gshadow", &old.gshadow, &new.gshadow)] {
        if let (Some(old), Some(new)) = (old, new) {
            scene.edit(path, old, new)?;
        }
    }
    Ok(())
}

fn home(scene: &Scene<'_>, person: &Person) -> Result<()> {
    let (guest, home) = (scene.guest, person.home.as_str());
    let made = guest.make_directory(home)?;
    if made || person.new {
        guest.set_mode(home, 0o700)?;
        guest.set_owner(home, person.uid, person.gid)?;
    }
    if !made {
        return Ok(());
    }
    let mut entries = guest.walk(SKELETON)?;
    // A directory before what is in it.
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    for entry in entries {
        let path = format!("{home}{}", entry.path.strip_prefix(SKELETON).unwrap_or_default());
        match entry.stat.kind {
            FileKind::Directory => _ = guest.make_directory(&path)?,
            FileKind::Regular => guest.write(&path, &guest.read(&entry.path, TEXT_LIMIT)?.unwrap_or_default())?,
            // Not followed: it could lead to what the user may not read.
            FileKind::Symlink | FileKind::Other => continue,
        }
        guest.set_owner(&path, person.uid, person.gid)?;
        guest.set_mode(&path, entry.stat.mode)?;
    }
    Ok(())
}

fn keys(scene: &Scene<'_>, person: &Person, keys: &[PublicKey]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let folder = format!("{}/.ssh", person.home.as_str().trim_end_matches('/'));
    let file = format!("{folder}/authorized_keys");
    let text = authorized(&scene.text(&file)?, keys);
    scene.put_as(&file, text.as_bytes(), 0o600, (person.uid, person.gid))?;
    scene.guest.set_owner(&folder, person.uid, person.gid)?;
    scene.guest.set_mode(&folder, 0o700)
}

/// The file with each of these keys in it once. Lines that are there stay: the pipeline wanted them.
fn authorized(old: &str, keys: &[PublicKey]) -> String {
    let mut text: String = old.lines().map(|line| format!("{line}\n")).collect();
    for key in keys.iter().map(ToString::to_string) {
        if !text.lines().any(|line| line == key) {
            text.push_str(&key);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_there_once() {
        let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ me";
        let keys = [line.parse().unwrap()];
        let table = [
            (String::new(), format!("{line}\n")),
            (format!("{line}\n"), format!("{line}\n")),
            ("# the pipeline's\nssh-rsa X".to_owned(), format!("# the pipeline's\nssh-rsa X\n{line}\n")),
        ];
        for (old, new) in table {
            assert_eq!(authorized(&old, &keys), new, "{old:?}");
        }
    }
}
