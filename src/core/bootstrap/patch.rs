//! The phase `patch`: the updates that there are, and the start that they need.

use super::{
    Facts, Item, Probe, Reboot, State, Step, Wish, apt,
    text::{count, plain, some_of, values},
};
use crate::core::error::Refusal;

/// What an upgrade would install and remove. Without a lock: it is asked while others work, too. Prints `none` where there is no APT, and
/// `lists` where it knows of packages at all: without lists every machine would seem up to date.
const UPGRADES: &str = r#"command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || { echo none; exit 0; }
for list in /var/lib/apt/lists/*_Packages*; do [ ! -e "$list" ] || { echo lists; break; }; done
said=$(apt-get -q -s -o Debug::NoLocking=1 dist-upgrade 2>&1) ||
  { printf '%s\n' "$said" | grep '^E:' >&2; exit 1; }
printf '%s\n' "$said" | awk '$1 == "Inst" || $1 == "Remv" {print "package", $2}' | sort -u"#;

/// Packages in a state between two others, and a journal that dpkg has not worked off: what `dpkg --configure -a` mends. Of
/// `dpkg --audit` that is not all: it tells also of what no command mends.
const INTERRUPTED: &str = r#"for part in /var/lib/dpkg/updates/[0-9]*; do [ ! -e "$part" ] || { echo "package dpkg's journal"; break; }; done
dpkg-query -W -f '${db:Status-Abbrev}|${binary:Package}\n' | awk -F'|' '$1 ~ /^.[HUFWt]/ || $1 ~ /^..R/ {print "package", $2}'"#;

/// The running kernel and the installed ones, the oldest first, and when each of them was put there.
const KERNEL: &str = r#"echo "running $(uname -r)"
echo "started $(sed -n 's/^btime //p' /proc/stat)"
for file in /boot/vmlinuz-*; do [ ! -e "$file" ] || echo "${file#/boot/vmlinuz-} $(stat -L -c %Z "$file")"; done | sort -V | sed 's/^/installed /'
[ ! -e /run/reboot-required ] || echo required
[ ! -e /run/reboot-required.pkgs ] || sed 's/^/for /' /run/reboot-required.pkgs"#;

/// Guests that would end with the machine; those that are paused, too.
const GUESTS: &str = r#"command -v virsh >/dev/null || exit 0
timeout -k 5 60 virsh -q -c qemu:///system list --name | sed -n 's/./guest &/p'"#;

/// dpkg waits for nobody: what is half-installed may just be being installed, by the machine's own updates.
const CONFIGURE: &str = r#"# configure what is half installed
tries=0
export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1
while :; do
  said=$(dpkg --configure -a --force-confdef --force-confold 2>&1) && exit 0
  tries=$((tries + 1))
  case $said in
    *" lock was locked by "*) [ "$tries" -lt 60 ] || break ;;
    *) break ;;
  esac
  sleep 10
done
printf '%s\n' "$said" | tail -n 20 >&2
exit 1"#;

/// What is done before the questions: the machine's configuration is none of it.
pub fn before() -> Vec<Step> {
    vec![apt::update()]
}

/// What the machine is asked.
pub fn probes(_wish: &Wish) -> Vec<Probe> {
    vec![
        Probe::new("patch.upgrades", UPGRADES),
        Probe::new("patch.interrupted", INTERRUPTED),
        Probe::new("patch.kernel", KERNEL),
        Probe::new("patch.guests", GUESTS),
    ]
}

/// What is to be so.
///
/// # Errors
/// It is no machine with APT.
pub fn items(facts: &Facts, wish: &Wish) -> Result<Vec<Item>, Refusal> {
    if facts.get("patch.upgrades") == Some("none") {
        return Err(Refusal::new("there is no apt-get on this machine")
            .advise("a hypervisor is made of Debian 12 or later, or of Ubuntu 22.04 or later"));
    }
    Ok(vec![interrupted(facts), packages(facts), kernel(facts, wish)])
}

fn interrupted(facts: &Facts) -> Item {
    let names: Vec<&str> = facts.get("patch.interrupted").map(|text| values(text, "package").collect()).unwrap_or_default();
    let untold = plain(facts.why_not("patch.interrupted"));
    let is = match facts.get("patch.interrupted") {
        None => format!("dpkg does not tell: {untold}"),
        Some(_) => format!("half installed: {}", some_of(&names)),
    };
    let whole = facts.get("patch.interrupted").is_some() && names.is_empty();
    // What is not unpacked as a whole is fetched again, or goes.
    let mend = vec![Step::script(120, CONFIGURE, &[]), apt::run(&["--fix-broken", "install"], &[])];
    Item::holds("interrupted packages", whole, &is, "none", mend)
}

fn packages(facts: &Facts) -> Item {
    let upgrade = apt::run(&["dist-upgrade"], &[]);
    let drifted = |is: &str, mend| Item::holds("packages", false, is, "up to date", mend);
    let Some(answer) = facts.get("patch.upgrades") else {
        return drifted(&format!("APT does not tell: {}", plain(facts.why_not("patch.upgrades"))), vec![upgrade]);
    };
    if values(answer, "lists").next().is_none() {
        return drifted("no lists of packages", vec![apt::update(), upgrade]);
    }
    let names: Vec<&str> = values(answer, "package").collect();
    let is = format!("{} to change: {}", count(names.len(), "package"), some_of(&names));
    Item::holds("packages", names.is_empty(), &is, "up to date", vec![upgrade])
}

/// Whether the machine runs what is installed, and what is done about it.
fn kernel(facts: &Facts, wish: &Wish) -> Item {
    const WHAT: &str = "running kernel";
    let answer = facts.get("patch.kernel").unwrap_or_default();
    let started = |is: &str| Item::holds(WHAT, false, is, "the newest installed one", vec![Step::Reboot]);
    let need = need(answer);
    if wish.reboot == Reboot::Always {
        return started(&match &need {
            Need::Start(why) => why.clone(),
            Need::Nothing | Need::Elsewhere(_) => "a start was asked for".to_owned(),
        });
    }
    let why = match need {
        Need::Nothing => return Item::holds(WHAT, true, "", "the newest installed one", Vec::new()),
        Need::Elsewhere(why) => return Item::unknown(WHAT, why),
        Need::Start(why) => why,
    };
    let Some(left) = left_for(facts, wish) else { return started(&why) };
    // It is for the operator to say when: nothing here is wrong.
    let state = State::Unknown(format!(
        "{why}; {left}\n`tpl host bootstrap NAME --only patch --reboot` starts the machine again, whatever runs on it"
    ));
    Item { what: WHAT.to_owned(), state, mend: Vec::new() }
}

/// Why a machine that needs a start gets none; none where it does.
fn left_for(facts: &Facts, wish: &Wish) -> Option<String> {
    if wish.reboot == Reboot::Never {
        return Some("it is left running, as asked for".to_owned());
    }
    let Some(answer) = facts.get("patch.guests") else {
        return Some(format!(
            "it is left running, for libvirt does not tell of its guests: {}",
            plain(facts.why_not("patch.guests"))
        ));
    };
    let guests: Vec<&str> = values(answer, "guest").collect();
    (!guests.is_empty()).then(|| format!("it is left running for {}: {}", count(guests.len(), "guest"), some_of(&guests)))
}

/// Whether a machine needs a start.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    /// It does, and why.
    Start(String),
    /// A start would not help: the machine starts a kernel from elsewhere.
    Elsewhere(String),
}

fn need(answer: &str) -> Need {
    let running = values(answer, "running").next().unwrap_or_default();
    let begun: Option<u64> = values(answer, "started").next().and_then(|time| time.parse().ok());
    let installed: Vec<(&str, Option<u64>)> = values(answer, "installed")
        .map(|line| line.split_once(' ').map_or((line, None), |(name, time)| (name, time.parse().ok())))
        .filter(|(name, _)| flavour(name).is_some() && flavour(name) == flavour(running))
        .collect();
    if let Some((newest, put)) = installed.last().filter(|(newest, _)| *newest != running) {
        let why = format!("{} runs, and {} is installed", plain(running), plain(newest));
        // It was there already when the machine started, and was not taken: so it would be again.
        if begun.zip(*put).is_some_and(|(begun, put)| put < begun) {
            return Need::Elsewhere(format!(
                "{why}; the machine's boot loader starts the older one: a start would not change that"
            ));
        }
        return Need::Start(why);
    }
    if values(answer, "required").next().is_none() {
        return Need::Nothing;
    }
    let packages: Vec<&str> = values(answer, "for").collect();
    Need::Start(match packages.as_slice() {
        [] => "updates wait for a start".to_owned(),
        some => format!("updates wait for a start: {}", some_of(some)),
    })
}

/// Of a kernel's release what says for which machines it is: `cloud-amd64` of `6.1.0-21-cloud-amd64`.
fn flavour(release: &str) -> Option<&str> {
    let starts = release.match_indices('-').map(|(at, _)| &release[at + 1..]);
    starts.into_iter().find(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::bootstrap::samples::{facts, line, lines, wish};

    const UP_TO_DATE: [(&str, &str); 4] = [
        ("patch.upgrades", "lists\n"),
        ("patch.interrupted", ""),
        ("patch.kernel", "running 6.1.0-21-amd64\nstarted 1000\ninstalled 6.1.0-18-amd64 500\ninstalled 6.1.0-21-amd64 900\n"),
        ("patch.guests", ""),
    ];
    const OLDER: &str = "running 6.1.0-18-amd64\nstarted 1000\ninstalled 6.1.0-18-amd64 500\ninstalled 6.1.0-21-amd64 2000\n";

    #[test]
    fn from_vanilla_to_done() {
        let done = facts(&UP_TO_DATE);
        let table = [
            (done.clone(), ["interrupted packages: ok", "packages: ok", "running kernel: ok"]),
            (
                done.clone().with("patch.upgrades", Ok("")).with("patch.guests", Err("x")),
                ["interrupted packages: ok", "packages: no lists of packages -> up to date", "running kernel: ok"],
            ),
            (
                done.clone().with("patch.upgrades", Ok("lists\npackage base-files\npackage \u{1b}x\n")),
                [
                    "interrupted packages: ok",
                    "packages: 2 packages to change: base-files, ?x -> up to date",
                    "running kernel: ok",
                ],
            ),
            (
                done.clone()
                    .with("patch.upgrades", Err("E: Unmet dependencies."))
                    .with("patch.interrupted", Ok("package dpkg's journal\npackage libc6:amd64\n"))
                    .with("patch.kernel", Ok(OLDER)),
                [
                    "interrupted packages: half installed: dpkg's journal, libc6:amd64 -> none",
                    "packages: APT does not tell: E: Unmet dependencies. -> up to date",
                    "running kernel: 6.1.0-18-amd64 runs, and 6.1.0-21-amd64 is installed -> the newest installed one",
                ],
            ),
            (
                done.with("patch.interrupted", Err("exit code 2")),
                ["interrupted packages: dpkg does not tell: exit code 2 -> none", "packages: ok", "running kernel: ok"],
            ),
        ];
        for (facts, expected) in table {
            assert_eq!(lines(&items(&facts, &wish("name = 'hv1'")).unwrap()), expected);
        }
    }

    #[test]
    fn what_mends_what() {
        let half = facts(&UP_TO_DATE).with("patch.interrupted", Ok("package a\n")).with("patch.upgrades", Ok(""));
        let steps = super::super::steps(&items(&half, &wish("name = 'hv1'")).unwrap());
        let shown: Vec<String> = steps.iter().map(|step| step.describe().lines().next().unwrap_or_default().to_owned()).collect();
        assert_eq!(shown.len(), 4, "{shown:?}");
        assert!(
            shown[0].contains("# configure what is half installed") && shown[1].ends_with("--fix-broken install"),
            "{shown:?}"
        );
        assert!(
            shown[2].contains("# fetch the lists of packages") && shown[3].ends_with("--force-confold' dist-upgrade"),
            "{shown:?}"
        );
    }

    #[test]
    fn no_apt_is_refused() {
        assert_eq!(
            items(&facts(&[("patch.upgrades", "none\n")]), &wish("name = 'hv1'")).unwrap_err().to_string(),
            "there is no apt-get on this machine\na hypervisor is made of Debian 12 or later, or of Ubuntu 22.04 or later"
        );
    }

    #[test]
    fn who_says_when_it_starts_again() {
        const HINT: &str = "\n`tpl host bootstrap NAME --only patch --reboot` starts the machine again, whatever runs on it";
        let older = facts(&UP_TO_DATE).with("patch.kernel", Ok(OLDER));
        let guests = |answer| older.clone().with("patch.guests", answer);
        let is = "6.1.0-18-amd64 runs, and 6.1.0-21-amd64 is installed";
        let drift = format!("running kernel: {is} -> the newest installed one");
        let table = [
            (older.clone(), Reboot::WhenNeeded, drift.clone()),
            (older.clone(), Reboot::Never, format!("running kernel? {is}; it is left running, as asked for{HINT}")),
            (
                guests(Ok("guest web1\nguest db\u{7}\n")),
                Reboot::WhenNeeded,
                format!("running kernel? {is}; it is left running for 2 guests: web1, db?{HINT}"),
            ),
            (
                guests(Err("no answer")),
                Reboot::WhenNeeded,
                format!("running kernel? {is}; it is left running, for libvirt does not tell of its guests: no answer{HINT}"),
            ),
            (guests(Ok("guest web1\n")), Reboot::Always, drift),
            (facts(&UP_TO_DATE), Reboot::Always, "running kernel: a start was asked for -> the newest installed one".to_owned()),
            (facts(&UP_TO_DATE), Reboot::Never, "running kernel: ok".to_owned()),
        ];
        for (facts, reboot, expected) in table {
            let mut wish = wish("name = 'hv1'");
            wish.reboot = reboot;
            assert_eq!(line(&kernel(&facts, &wish)), expected);
        }
    }

    #[test]
    fn which_start_helps() {
        let start = |why: &str| Need::Start(why.to_owned());
        let table = [
            ("", Need::Nothing),
            ("running 6.18.44-fc-v669\nstarted 9\ninstalled 6.12.95+deb12-cloud-amd64 10\n", Need::Nothing),
            ("running 6.1.0-9-amd64\nstarted 9\ninstalled 6.1.0-9-amd64 1\ninstalled 6.1.0-18-cloud-amd64 10\n", Need::Nothing),
            (
                "running 5.15.0-91-generic\nstarted 9\ninstalled 5.15.0-91-generic 1\ninstalled 5.15.0-101-generic 10\n",
                start("5.15.0-91-generic runs, and 5.15.0-101-generic is installed"),
            ),
            // It runs, and is not there any more.
            ("running 6.1.0-9-amd64\ninstalled 6.1.0-18-amd64\n", start("6.1.0-9-amd64 runs, and 6.1.0-18-amd64 is installed")),
            ("running 6.1.0-9-amd64\ninstalled 6.1.0-9-amd64.old 4\n", Need::Nothing),
            (
                "running 6.1.0-9-amd64\nstarted 900\ninstalled 6.1.0-18-amd64 800\n",
                Need::Elsewhere(
                    "6.1.0-9-amd64 runs, and 6.1.0-18-amd64 is installed; the machine's boot loader starts the older one: a start \
                     would not change that"
                        .to_owned(),
                ),
            ),
            ("running x\nrequired\n", start("updates wait for a start")),
            ("running x\nrequired\nfor libc6\nfor dbus\n", start("updates wait for a start: libc6, dbus")),
        ];
        for (answer, expected) in table {
            assert_eq!(need(answer), expected, "{answer}");
        }
    }
}
