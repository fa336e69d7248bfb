//! Accounts of people, with their homes. Off by default: whom the answer file made, the pipeline wanted.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{TEXT_LIMIT, changed, edit_lines, is_plain_path, merge},
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "user-accounts",
    summary: "removes all accounts of people, with their homes",
    families: &[],
    default: false,
    run,
};

/// `UID_MIN` of every distribution of today, and `nobody`.
const PEOPLE: std::ops::Range<u32> = 1000..60_000;

fn run(files: &dyn Files) -> Result<Outcome> {
    let passwd = files.read("/etc/passwd", TEXT_LIMIT)?.unwrap_or_default();
    let people = people(&String::from_utf8_lossy(&passwd));
    let is_person = |name: &str| people.iter().any(|(person, _)| person == name);
    let keep = |line: &str| (!is_person(line.split(':').next().unwrap_or_default())).then(|| line.to_owned());
    let own = ["/etc/passwd", "/etc/shadow", "/etc/subuid", "/etc/subgid"];
    // A person's own group has the person's name; elsewhere people are members.
    let group = |line: &str| {
        let (head, members) = keep(line)?.rsplit_once(':').map(|(head, members)| (head.to_owned(), members.to_owned()))?;
        let members: Vec<_> = members.split(',').filter(|name| !is_person(name)).collect();
        Some(format!("{head}:{}", members.join(",")))
    };
    let mut homes = Vec::new();
    for (_, home) in people.iter().filter(|(_, home)| is_plain_path(home) && home.matches('/').count() > 1) {
        files.remove(home)?;
        homes.push(home.clone());
    }
    let lines = edit_lines(files, &own, &keep)?;
    Ok(merge([lines, edit_lines(files, &["/etc/group", "/etc/gshadow"], &group)?, changed(homes)]))
}

/// Name and home of each account of a person.
fn people(passwd: &str) -> Vec<(String, String)> {
    let person = |line: &str| {
        let fields: Vec<_> = line.split(':').collect();
        let id: u32 = fields.get(2)?.parse().ok()?;
        PEOPLE.contains(&id).then(|| Some((fields[0].to_owned(), (*fields.get(5)?).to_owned())))?
    };
    passwd.lines().filter_map(person).collect()
}
