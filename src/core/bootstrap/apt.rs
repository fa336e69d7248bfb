//! The package manager's own programs, as a machine without anybody in front of it runs them.

use super::Step;

/// The longest that packages may take: an emulated machine unpacks for an hour.
const MINUTES: u16 = 120;

/// Nobody answers questions; files of the configuration stay as they are; who else is at it is waited for.
const QUIETLY: [&str; 14] = [
    "env",
    "DEBIAN_FRONTEND=noninteractive",
    "APT_LISTCHANGES_FRONTEND=none",
    "UCF_FORCE_CONFFOLD=1",
    "NEEDRESTART_MODE=a",
    "apt-get",
    "-q",
    "-y",
    "-o",
    "DPkg::Lock::Timeout=600",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
];

/// The lists' lock is none of those that apt-get waits for. A source that does not answer is a warning to it, and the old lists pass
/// for new ones: here it is an error.
const UPDATE: &str = r#"# fetch the lists of packages
tries=0
while :; do
  tries=$((tries + 1))
  said=$(apt-get -q -o Acquire::Retries=3 -o APT::Update::Error-Mode=any update 2>&1) && exit 0
  case $said in
    *"Could not get lock"*) most=60 ;;
    *) most=2 ;;
  esac
  [ "$tries" -lt "$most" ] || break
  sleep 10
done
printf '%s\n' "$said" >&2
exit 1"#;

/// The list of what there is, fetched.
pub fn update() -> Step {
    Step::script(30, UPDATE, &[])
}

/// These packages, and what they need.
pub fn install(packages: &[&str]) -> Step {
    run(&["--no-install-recommends", "install"], packages)
}

/// A command of apt-get's on these packages.
pub fn run(command: &[&str], packages: &[&str]) -> Step {
    let words: Vec<&str> = QUIETLY.iter().chain(command).chain(packages).copied().collect();
    Step::run_for(MINUTES, &words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_and_old_files_stay() {
        assert_eq!(
            install(&["lvm2", "openssl"]).describe(),
            "run   env 'DEBIAN_FRONTEND=noninteractive' 'APT_LISTCHANGES_FRONTEND=none' 'UCF_FORCE_CONFFOLD=1' 'NEEDRESTART_MODE=a' \
             apt-get -q -y -o 'DPkg::Lock::Timeout=600' -o 'Dpkg::Options::=--force-confdef' -o 'Dpkg::Options::=--force-confold' \
             --no-install-recommends install lvm2 openssl\n"
        );
    }
}
