//! Autoinstall: what subiquity would not take, or would stop at. Its autoinstall reference has the keys.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::{Fault, storage};

/// The keys below `autoinstall`, from Ubuntu 22.04 to 26.04.
const KEYS: [&str; 32] = [
    "version",
    "interactive-sections",
    "early-commands",
    "locale",
    "refresh-installer",
    "keyboard",
    "source",
    "network",
    "proxy",
    "apt",
    "storage",
    "identity",
    "active-directory",
    "ubuntu-pro",
    "ubuntu-advantage",
    "ssh",
    "codecs",
    "drivers",
    "oem",
    "snaps",
    "debconf-selections",
    "packages",
    "kernel",
    "kernel-crash-dumps",
    "timezone",
    "updates",
    "shutdown",
    "late-commands",
    "error-commands",
    "reporting",
    "user-data",
    "zdevs",
];

/// A mapping's entries, in order, with their places.
struct Entries<T>(Vec<(Spanned<String>, Spanned<T>)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Reader(std::marker::PhantomData))
    }
}

/// What is wrong with an autoinstall file.
pub fn check(text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    // cloud-init decides by this line what it has before it.
    if text.lines().next().map(str::trim_end) != Some("#cloud-config") {
        faults.push(Fault::at(1, 1, "the first line must be #cloud-config"));
    }
    // First as a whole: the places of faults in its depths are better there.
    if let Err(error) = serde_saphyr::from_str::<Value>(text) {
        faults.push(broken(&error));
        return faults;
    }
    let entries = match serde_saphyr::from_str::<Entries<Value>>(text) {
        Ok(Entries(entries)) => entries,
        Err(error) => {
            faults.push(broken(&error));
            return faults;
        }
    };
    let Some((key, _)) = entries.iter().find(|(key, _)| key.value == "autoinstall") else {
        faults.push(Fault::at(1, 1, "there is no key autoinstall"));
        return faults;
    };
    #[derive(Deserialize)]
    struct Whole {
        autoinstall: Entries<Value>,
    }
    match serde_saphyr::from_str::<Whole>(text) {
        Ok(whole) => inside(&whole.autoinstall.0, key.referenced, &mut faults),
        Err(error) => faults.push(broken(&error)),
    }
    faults
}

/// Looks at the keys below `autoinstall`, which stands at `top`.
fn inside(entries: &[(Spanned<String>, Spanned<Value>)], top: Location, faults: &mut Vec<Fault>) {
    let mut low = |place: Location, message: String| faults.push(at(place, message));
    for (key, _) in entries.iter().filter(|(key, _)| !KEYS.contains(&key.value.as_str())) {
        let shown: String = key.value.chars().take(60).collect();
        low(key.referenced, format!("unknown key {shown:?} of autoinstall"));
    }
    let value = |wanted: &str| entries.iter().find(|(key, _)| key.value == wanted).map(|(_, value)| value);
    match value("version") {
        None => low(top, "autoinstall has no version: `version: 1`".to_owned()),
        Some(version) if version.value != 1 => low(version.referenced, "the version of autoinstall is 1".to_owned()),
        Some(_) => {}
    }
    let off = "the machine is not powered off at the end: `shutdown: poweroff` does that";
    match value("shutdown") {
        None => low(top, off.to_owned()),
        Some(shutdown) if shutdown.value != "poweroff" => low(shutdown.referenced, off.to_owned()),
        Some(_) => {}
    }
    if let Some(sections) = value("interactive-sections").filter(|list| list.value.as_array().is_none_or(|list| !list.is_empty()))
    {
        low(sections.referenced, "interactive sections wait for somebody".to_owned());
    }
    if value("identity").is_none() && value("user-data").is_none() {
        low(top, "autoinstall has neither identity nor user-data: the installer refuses that".to_owned());
    }
    if let Some(identity) = value("identity").filter(|identity| identity.value["password"].as_str().is_some_and(is_plain)) {
        low(
            identity.referenced,
            "identity has a password as it is: the installer wants its hash, and anybody could read this".into(),
        );
    }
    if let Some(storage) = value("storage") {
        storage::check(&storage.value).into_iter().for_each(|fault| low(storage.referenced, fault));
    }
    for list in ["early-commands", "late-commands", "error-commands", "packages"] {
        if let Some(odd) = value(list).filter(|value| !value.value.is_array()) {
            low(odd.referenced, format!("{list} is a list"));
        }
    }
    for table in ["keyboard", "source", "network", "apt", "storage", "identity", "ssh", "user-data"] {
        if let Some(odd) = value(table).filter(|value| !value.value.is_object()) {
            low(odd.referenced, format!("{table} is a mapping"));
        }
    }
}

/// Whether a password is no hash of crypt(3)'s, and none that lets nobody in.
fn is_plain(password: &str) -> bool {
    !password.starts_with(['$', '!', '*'])
}

fn broken(error: &serde_saphyr::Error) -> Fault {
    let message = error.without_snippet().to_string();
    let message = message.split(" at line ").next().unwrap_or_default().lines().next().unwrap_or_default();
    at(error.location().unwrap_or(Location::UNKNOWN), format!("this is no YAML: {message}"))
}

fn at(place: Location, message: String) -> Fault {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
    Fault::at(number(place.line()), number(place.column()), message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{super::Said, *};

    const GOOD: &str = "#cloud-config\nautoinstall:\n  version: 1\n  locale: \"C\"\n  late-commands:\n    - |\n      snaap: 1\n\
                        \x20 user-data:\n    disable_root: true\n  shutdown: poweroff\n";

    #[test]
    fn each_fault_has_its_place() {
        let off = "the machine is not powered off at the end: `shutdown: poweroff` does that";
        let plain = "identity has a password as it is: the installer wants its hash, and anybody could read this";
        let no_root = "storage.config has no root: an entry with type: mount and path: / is missing";
        let table: [(&str, &str, &[Said<'_>]); 14] = [
            ("", "", &[]),
            ("locale: \"C\"", "identity: {password: secret}", &[(4, 13, plain)]),
            ("locale: \"C\"", "identity: {password: $6$a$b}", &[]),
            ("locale: \"C\"", "storage: {config: []}", &[(4, 12, no_root)]),
            ("#cloud-config", "# cloud-config", &[(1, 1, "the first line must be #cloud-config")]),
            ("version: 1", "version: 2", &[(3, 12, "the version of autoinstall is 1")]),
            ("  version: 1\n", "", &[(2, 1, "autoinstall has no version: `version: 1`")]),
            ("  shutdown: poweroff\n", "", &[(2, 1, off)]),
            ("poweroff", "reboot", &[(10, 13, off)]),
            ("locale", "lcoale", &[(4, 3, "unknown key \"lcoale\" of autoinstall")]),
            ("version: 1", "version: 1\n  interactive-sections: [network]", &[(4, 25, "interactive sections wait for somebody")]),
            ("autoinstall", "autoninstall", &[(1, 1, "there is no key autoinstall")]),
            ("user-data", "ssh", &[(2, 1, "autoinstall has neither identity nor user-data: the installer refuses that")]),
            ("    - |\n      snaap: 1\n", "    x\n", &[(6, 5, "late-commands is a list")]),
        ];
        for (from, to, expected) in table {
            let faults = check(&GOOD.replacen(from, to, 1));
            let shown: Vec<_> = faults.iter().map(|fault| (fault.line, fault.column, fault.message.as_str())).collect();
            assert_eq!(shown, expected, "{to}");
        }
    }

    #[test]
    fn what_is_no_yaml_has_its_line() {
        for (from, to, line) in [("\"C\"", "\"C", 4), ("locale: ", "locale: [", 4), ("version: 1", "version: 1\n  version: 1", 4)]
        {
            let faults = check(&GOOD.replacen(from, to, 1));
            assert_eq!(faults.len(), 1, "{to}: {faults:?}");
            assert!(faults[0].line >= line && faults[0].message.starts_with("this is no YAML: "), "{to}: {faults:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), words in "(#cloud-config\n|autoinstall:|version: |[a-z:\\[\\]{}*&!|> \n-]){0,60}") {
            check(&text);
            check(&words);
        }
    }
}
