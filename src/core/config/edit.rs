//! Putting a hypervisor into the text of a configuration: everything else stays as somebody wrote it, byte for byte.

use std::path::PathBuf;

use toml_edit::{DocumentMut, Item, Table, TableLike, value};

use super::{HypervisorFile, HypervisorName, parse};
use crate::core::{
    error::Invalid,
    transport::{SshTarget, Transport},
};

/// What a hypervisor's table is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its libvirt connection, where the table names none that leads to the same machine.
    pub uri: String,
    /// Its pool, where the table names none.
    pub pool: String,
    /// Whether that is its pool whatever the table names.
    pub sets_pool: bool,
    /// Its network, where the table names none.
    pub network: String,
    /// The private key that SSH logs in with, where the table names none, and SSH would not find it by itself.
    pub ssh_key: Option<PathBuf>,
    /// Whether its programs are run by sudo, where the table does not say.
    pub sudo: bool,
}

/// The text of a configuration in which the hypervisor stands; none where it stands there already. `file` names it in errors. Keys that
/// somebody has added to the table stay.
///
/// # Errors
/// [`Invalid`]: the text is no configuration, or what is called so there is another machine.
pub fn with_hypervisor(file: &str, text: &str, name: &HypervisorName, entry: &Entry) -> Result<Option<String>, Invalid> {
    let known = parse(file, text)?;
    let changed = match known.hypervisors.get(name) {
        Some(table) => changed(file, text, name, entry, table)?,
        None => added(file, text, name, entry)?,
    };
    if changed == text {
        return Ok(None);
    }
    // What is written is what will be read.
    parse(file, &changed)?;
    Ok(Some(changed))
}

/// Another table, behind all there is: nothing before it is touched.
fn added(file: &str, text: &str, name: &HypervisorName, entry: &Entry) -> Result<String, Invalid> {
    let mut table = Table::new();
    table.insert("uri", value(entry.uri.as_str()));
    fill(&mut table, entry, true);
    let mut own = DocumentMut::new();
    let mut all = Table::new();
    all.set_implicit(true);
    all.insert(name.as_str(), Item::Table(table));
    own.insert("hypervisors", Item::Table(all));
    let newline = newline(text);
    let gap = match text {
        "" => "",
        text if text.ends_with('\n') => newline,
        _ => &newline.repeat(2),
    };
    let changed = format!("{text}{gap}{}", own.to_string().replace('\n', newline));
    // One line of TOML can say all hypervisors, and nothing can be put behind it.
    parse(file, &changed).map_err(|_| by_hand(file, &own.to_string()))?;
    Ok(changed)
}

/// The table that there is, with what it lacks.
fn changed(file: &str, text: &str, name: &HypervisorName, entry: &Entry, known: &HypervisorFile) -> Result<String, Invalid> {
    let uri = same_machine(file, name, entry, known)?;
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| Invalid::file(file, error.to_string()))?;
    // Its lines end as in Unix, whatever the text's do.
    let faithful = document.to_string() == text.replace("\r\n", "\n");
    let table = document
        .get_mut("hypervisors")
        .and_then(Item::as_table_like_mut)
        .and_then(|all| all.get_mut(name.as_str()))
        .and_then(Item::as_table_like_mut)
        .filter(|_| faithful)
        .ok_or_else(|| by_hand(file, &format!("[hypervisors.{name}]\nuri = \"{}\"\npool = \"{}\"\n", uri, entry.pool)))?;
    set(table, "uri", &uri);
    fill(table, entry, !has_key(known));
    Ok(document.to_string().replace('\n', newline(text)))
}

/// What is not the operator's own word.
fn fill(table: &mut dyn TableLike, entry: &Entry, keyless: bool) {
    if entry.sets_pool || table.get("pool").is_none() {
        set(table, "pool", &entry.pool);
    }
    if table.get("network").is_none() {
        set(table, "network", &entry.network);
    }
    if let Some(key) = entry.ssh_key.as_ref().filter(|_| keyless) {
        set(table, "ssh_key", &key.to_string_lossy());
    }
    if entry.sudo && table.get("sudo").is_none() {
        table.insert("sudo", value(true));
    }
}

/// Sets a word, unless it stands there already, however it is written.
fn set(table: &mut dyn TableLike, key: &str, word: &str) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) if old.as_str() == Some(word) => {}
        Some(old) => {
            // With the comment behind it.
            let around = old.decor().clone();
            *old = word.into();
            *old.decor_mut() = around;
        }
        None => {
            table.insert(key, value(word));
        }
    }
}

fn has_key(known: &HypervisorFile) -> bool {
    known.ssh_key.is_some() || known.uri.has_parameter("keyfile")
}

/// The URI that the table is to have: its own one, if that leads to the same machine, with who logs in now.
fn same_machine(file: &str, name: &HypervisorName, entry: &Entry, known: &HypervisorFile) -> Result<String, Invalid> {
    let uri = known.uri.as_str();
    let ssh = |uri: &str| match Transport::of(uri) {
        Ok(Transport::Ssh(target)) => Some(target),
        Ok(Transport::Local) | Err(_) => None,
    };
    let (is, should) = (ssh(uri), ssh(&entry.uri));
    match (is, should) {
        (Some(is), Some(should)) if same_place(&is, &should) => Ok(match is.user == should.user {
            true => uri.to_owned(),
            false => with_user(uri, should.user.as_deref()),
        }),
        _ if uri == entry.uri => Ok(uri.to_owned()),
        _ => Err(Invalid::file(
            file,
            format!(
                "{name} is another machine there: {uri}, and this one is {}\ngive this one another name by --name, or remove \
                 [hypervisors.{name}]",
                entry.uri
            ),
        )),
    }
}

fn same_place(one: &SshTarget, other: &SshTarget) -> bool {
    one.host == other.host && one.port.unwrap_or(22) == other.port.unwrap_or(22)
}

/// The same URI with another user.
pub fn with_user(uri: &str, user: Option<&str>) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (place, path) = rest.split_at(end);
    let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
    format!("{scheme}://{}{host}{path}", user.map_or(String::new(), |user| format!("{user}@")))
}

fn newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// What cannot be put there without touching something else.
fn by_hand(file: &str, lines: &str) -> Invalid {
    let message =
        format!("this file is written in a way that leaves no place for a table; write there by hand:\n{}", lines.trim_end());
    Invalid::file(file, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            uri: "qemu+ssh://admin@hv1.lab.example:2222/system".to_owned(),
            pool: "default".to_owned(),
            sets_pool: false,
            network: "default".to_owned(),
            ssh_key: None,
            sudo: false,
        }
    }

    fn put(text: &str, entry: &Entry) -> Result<Option<String>, String> {
        let name = "hv1".parse().unwrap();
        let put = with_hypervisor("c", text, &name, entry).map_err(|error| error.to_string())?;
        if let Some(new) = &put {
            assert_eq!(with_hypervisor("c", new, &name, entry).unwrap(), None, "{new}");
        }
        Ok(put)
    }

    const LINES: &str =
        "[hypervisors.hv1]\nuri = \"qemu+ssh://admin@hv1.lab.example:2222/system\"\npool = \"default\"\nnetwork = \"default\"\n";

    #[test]
    fn a_new_one_stands_behind_all_there_is() {
        let table = [
            ("", LINES.to_owned()),
            ("# mine\npool = 'x'   # why", format!("# mine\npool = 'x'   # why\n\n{LINES}")),
            ("pool='x'\n\n# end\n", format!("pool='x'\n\n# end\n\n{LINES}")),
            ("pool='x'\r\n", format!("pool='x'\r\n\r\n{}", LINES.replace('\n', "\r\n"))),
            (
                "[hypervisors.b]\nuri = 'qemu:///system'\n[admission]\ncap = 80\n",
                format!("[hypervisors.b]\nuri = 'qemu:///system'\n[admission]\ncap = 80\n\n{LINES}"),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(put(text, &entry()), Ok(Some(expected)), "{text}");
        }
        let full = Entry { pool: "vg0".to_owned(), ssh_key: Some("/k".into()), sudo: true, ..entry() };
        let expected = LINES.replace("pool = \"default\"", "pool = \"vg0\"") + "ssh_key = \"/k\"\nsudo = true\n";
        assert_eq!(put("", &full), Ok(Some(expected)));
    }

    #[test]
    fn one_that_is_there_keeps_what_is_its_own() {
        let full = Entry { ssh_key: Some("/k".into()), sudo: true, ..entry() };
        let head = "# first\npool = 'x'\n[hypervisors.hv1] # the one\n";
        let tail = "cap = 50 # little\n\n[hypervisors.b]\nuri = 'qemu:///system'  # b\n";
        let table = [
            // The same in other words, with parameters and further keys.
            (
                "uri = 'qemu+ssh://admin@hv1.lab.example:2222/system?keyfile=/mine'\npool = 'default'\nnetwork='lab'\nsudo = false\n",
                None,
            ),
            (
                "pool = 'old' # a pool\nssh_key = '/mine'\nuri = 'qemu+ssh://admin@hv1.lab.example:2222/system' # there\n",
                Some("pool = 'old' # a pool\nssh_key = '/mine'\nuri = 'qemu+ssh://admin@hv1.lab.example:2222/system' # there\n"),
            ),
            (
                "uri = 'qemu+ssh://root@hv1.lab.example:2222/system?no_verify=0'\npool = 'default'\n",
                Some("uri = \"qemu+ssh://admin@hv1.lab.example:2222/system?no_verify=0\"\npool = 'default'\n"),
            ),
        ];
        let new = ["", "network = \"default\"\nsudo = true\n", "network = \"default\"\nssh_key = \"/k\"\nsudo = true\n"];
        for ((own, expected), new) in table.into_iter().zip(new) {
            // What is new stands behind all that the table has.
            let (cap, rest) = tail.split_once('\n').unwrap();
            let expected = expected.map(|expected| format!("{head}{expected}{cap}\n{new}{rest}"));
            assert_eq!(put(&format!("{head}{own}{tail}"), &full), Ok(expected), "{own}");
        }
        let dos = LINES.replace('\n', "\r\n") + "cap = 1\r\n";
        assert_eq!(put(&dos, &entry()), Ok(None));
        let one_line = "hypervisors = {hv1 = {uri = \"qemu+ssh://admin@hv1.lab.example:2222/system\", pool = \"a\"}} # all\n";
        let with_network = |pool: &str| one_line.replace("\"a\"", &format!("\"{pool}\", network = \"default\" "));
        assert_eq!(put(one_line, &entry()), Ok(Some(with_network("a"))));
        let told = Entry { pool: "vg0".to_owned(), sets_pool: true, ..entry() };
        assert_eq!(put(one_line, &told), Ok(Some(with_network("vg0"))));
    }

    #[test]
    fn another_machine_of_that_name_is_left_alone() {
        let others = [
            "qemu+ssh://admin@hv1.lab.example/system",
            "qemu+ssh://admin@hv2.lab.example:2222/system",
            "qemu:///system",
            "qemu+tls://hv1.lab.example/system",
        ];
        for uri in others {
            let said = put(&format!("[hypervisors.hv1]\nuri = '{uri}'\n"), &entry()).unwrap_err();
            let expected = format!(
                "c: hv1 is another machine there: {uri}, and this one is qemu+ssh://admin@hv1.lab.example:2222/system\ngive this \
                 one another name by --name, or remove [hypervisors.hv1]"
            );
            assert_eq!(said, expected);
        }
        assert!(put("pool = ", &entry()).unwrap_err().starts_with("c:1:"));
        let closed = put("hypervisors = {b = {uri = 'qemu:///system'}}\n", &entry()).unwrap_err();
        assert!(closed.starts_with("c: this file is written in a way that leaves no place for a table"), "{closed}");
        assert!(closed.ends_with(LINES.trim_end()), "{closed}");
    }
}
