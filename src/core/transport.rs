//! How a hypervisor's own programs are reached, read from the URI that libvirt connects to: <https://libvirt.org/uri.html>.

pub mod host_key;
pub mod login;

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use percent_encoding::percent_decode_str;
use url::Url;

use super::{error::Refusal, facts::is_local, quoted::quoted};

/// How a hypervisor's own programs are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// They are this machine's.
    Local,
    /// Over SSH, with the words that libvirt's transport has for it.
    Ssh(SshTarget),
}

/// Whom SSH is to reach, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshTarget {
    /// A name or an address.
    pub host: String,
    /// Who logs in; none leaves it to SSH.
    pub user: Option<String>,
    /// The port; none leaves it to SSH.
    pub port: Option<u16>,
    /// The private key's file; none leaves it to SSH.
    pub key: Option<PathBuf>,
    /// The program that stands for `ssh`, an absolute path.
    pub command: Option<PathBuf>,
    /// The file of known host keys; none leaves it to SSH.
    pub known_hosts: Option<String>,
    /// Which host keys are believed.
    pub host_keys: HostKeys,
}

/// Which host keys are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeys {
    /// As SSH is configured: those that it knows.
    Known,
    /// Those that are known, and any of a host of which none is.
    AlsoNew,
    /// Any.
    Any,
}

/// What somebody logs in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way<'a> {
    /// The agent and the user's keys, as SSH is configured.
    Keys,
    /// This private key, from its file or from the agent, and nothing else.
    Key(&'a Path),
    /// A password, which SSH asks its helper for, once.
    Password,
}

/// Whose rights a program runs with on another machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Those of whoever logs in.
    Own,
    /// root's, by a sudo that asks nothing.
    Sudo,
    /// root's, by a sudo that is given the password as the first line of its input.
    SudoWithPassword,
}

/// What a session does without, whatever the user's own configuration says, and when a silent host is given up: after 45 s.
const SETTINGS: [&str; 8] = [
    "BatchMode=yes",
    "ConnectTimeout=15",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "RemoteCommand=none",
    "LogLevel=ERROR",
];

const BY_ONE_KEY: [&str; 3] = ["IdentitiesOnly=yes", "PubkeyAuthentication=yes", "PreferredAuthentications=publickey"];
const BY_PASSWORD: [&str; 6] = [
    "BatchMode=no",
    "PubkeyAuthentication=no",
    "PasswordAuthentication=yes",
    "KbdInteractiveAuthentication=yes",
    "PreferredAuthentications=password,keyboard-interactive",
    "NumberOfPasswordPrompts=1",
];

impl Transport {
    /// Reads a connection's URI.
    ///
    /// # Errors
    /// [`Refusal`]: it goes neither to this machine nor over SSH, or SSH cannot be told what it says.
    pub fn of(uri: &str) -> Result<Self, Refusal> {
        if is_local(uri) {
            return Ok(Self::Local);
        }
        let refused = |why: String| {
            let reason = format!("{} gives no way to run programs on the hypervisor: {why}", without_password(uri));
            Refusal::new(reason).advise("name the hypervisor by qemu+ssh://USER@HOST/system")
        };
        let parsed = Url::parse(uri).map_err(|error| refused(error.to_string()))?;
        let transport = parsed.scheme().split_once('+').map_or("tls", |(_, transport)| transport);
        if !matches!(transport, "ssh" | "libssh" | "libssh2") {
            return Err(refused(format!("its transport is {transport}, and they are run over SSH")));
        }
        SshTarget::of(&parsed).map(Self::Ssh).map_err(refused)
    }
}

impl SshTarget {
    fn of(uri: &Url) -> Result<Self, String> {
        let host = decoded(uri.host_str().unwrap_or_default())?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || host.starts_with('-') {
            return Err(format!("{} is no host", quoted(&host)));
        }
        if uri.password().is_some() {
            return Err("a password is in it, and SSH takes none from there".to_owned());
        }
        let user = Some(decoded(uri.username())?).filter(|user| !user.is_empty());
        if let Some(user) = user.as_ref().filter(|user| user.starts_with('-')) {
            return Err(format!("{} is no user", quoted(user)));
        }
        let mut target =
            Self { host, user, port: uri.port(), key: None, command: None, known_hosts: None, host_keys: HostKeys::Known };
        // libvirt takes both separators.
        for parameter in uri.query().unwrap_or_default().split(['&', ';']) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            target.set(name, decoded(value)?)?;
        }
        Ok(target)
    }

    /// Takes one parameter of the URI. Those that concern libvirt's own connection alone are passed over.
    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "keyfile" => self.key = Some(value.into()),
            "command" if value.starts_with('/') => self.command = Some(value.into()),
            // A `PATH` may be anybody's.
            "command" => return Err(format!("its command {} is no absolute path", quoted(&value))),
            "known_hosts" if value.contains('"') => return Err(format!("{} is no file of known hosts", quoted(&value))),
            "known_hosts" => self.known_hosts = Some(value),
            // What is no number is 0 to libvirt; a host that is believed for nothing must be asked for clearly.
            "no_verify" if value.parse::<i64>().is_ok_and(|number| number != 0) => self.host_keys = HostKeys::Any,
            "known_hosts_verify" => match value.as_str() {
                "ignore" => self.host_keys = HostKeys::Any,
                "auto" if self.host_keys == HostKeys::Known => self.host_keys = HostKeys::AlsoNew,
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    /// The arguments of `ssh` before the command, with these further settings: what tpl says stands before the user's own
    /// configuration.
    pub fn arguments(&self, further: &[&str]) -> Vec<String> {
        self.arguments_by(Way::Keys, further)
    }

    /// The same for somebody who logs in this way.
    pub fn arguments_by(&self, way: Way<'_>, further: &[&str]) -> Vec<String> {
        let mut arguments: Vec<String> = ["-T", "-e", "none"].map(str::to_owned).to_vec();
        // Of two that say the same, SSH takes the first.
        let own = match way {
            Way::Keys => &[][..],
            Way::Key(_) => &BY_ONE_KEY[..],
            Way::Password => &BY_PASSWORD[..],
        };
        let all = own.iter().chain(&SETTINGS).chain(further);
        let mut settings: Vec<Cow<'_, str>> = all.map(|setting| Cow::Borrowed(*setting)).collect();
        match self.host_keys {
            // What SSH would ask of an unknown host its helper would answer, with the password.
            HostKeys::Known if way == Way::Password => settings.push("StrictHostKeyChecking=yes".into()),
            HostKeys::Known => {}
            HostKeys::AlsoNew => settings.push("StrictHostKeyChecking=accept-new".into()),
            HostKeys::Any => settings.push("StrictHostKeyChecking=no".into()),
        }
        if let Some(file) = &self.known_hosts {
            // ssh_config(5): a percent sign begins a token.
            settings.push(format!("UserKnownHostsFile=\"{}\"", file.replace('%', "%%")).into());
        }
        for setting in settings {
            arguments.extend(["-o".to_owned(), setting.into_owned()]);
        }
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        if let Some(user) = &self.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        let key = if let Way::Key(key) = way { Some(key) } else { self.key.as_deref() };
        if let Some(key) = key {
            arguments.extend(["-i".to_owned(), key.to_string_lossy().into_owned()]);
        }
        arguments.extend(["--".to_owned(), self.host.clone()]);
        arguments
    }
}

/// What a percent-encoded part says.
fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| format!("{} is no UTF-8", quoted(text)))?;
    if text.chars().any(char::is_control) {
        return Err(format!("{} holds control characters", quoted(&text)));
    }
    Ok(text.into_owned())
}

/// A connection's URI as it may be shown. What stands before the last `@` counts as who logs in, also where a slash in a password
/// ends that for a reader of URIs.
pub fn without_password(uri: &str) -> Cow<'_, str> {
    let shown = || {
        let (scheme, rest) = uri.split_once("://").filter(|(_, rest)| !rest.starts_with('/'))?;
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let (login, place) = rest.split_at_checked(rest.get(..end)?.rfind('@')?)?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}{place}"))
    };
    shown().map_or(Cow::Borrowed(uri), Cow::Owned)
}

/// That a connection's URI has no password in it: errors, `--output json` and metadata name it, and every user sees it among the
/// arguments of a program.
///
/// # Errors
/// There is one; it is not repeated.
pub fn check_password(uri: &str) -> Result<(), String> {
    match without_password(uri) {
        Cow::Borrowed(_) => Ok(()),
        Cow::Owned(shown) => {
            Err(format!("{} has a password in it, which would be shown: leave it out, and log in by a key", quoted(&shown)))
        }
    }
}

/// The one line with which a POSIX shell runs a program with just these arguments, in the locale C, found in the system's own
/// folders.
///
/// # Errors
/// An argument holds a NUL.
pub fn command_line(argv: &[&str]) -> Result<String, String> {
    // By `env`, so that a login shell that is no POSIX shell sets them too.
    shlex::try_join(ENV.into_iter().chain(argv.iter().copied())).map_err(|error| error.to_string())
}

/// The locale and the folders of programs.
const ENV: [&str; 3] = ["/usr/bin/env", "LC_ALL=C", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
/// Runs what is behind it without input: a password that nobody has asked for goes no further.
const DEAF: [&str; 4] = ["sh", "-c", "exec \"$@\" </dev/null", "sh"];
/// The same with the input that follows the line that `$0` is, and none other: else a password that nobody has asked for would be its
/// beginning. That comes before the line where sudo, meanwhile, asks for none.
const MARKED: [&str; 3] = [
    "sh",
    "-c",
    "for line in sudo own; do IFS= read -r line || break; [ \"$line\" != \"$0\" ] || exec \"$@\"; done\n\
     echo 'the input was not understood' >&2; exit 1",
];

/// The same with these rights. `mark` is the line of the input that comes before what the program is to read; none where it reads
/// nothing. It matters where a password comes before it.
///
/// # Errors
/// As for [`command_line`].
pub fn command_line_with(rights: Rights, mark: Option<&str>, argv: &[&str]) -> Result<String, String> {
    let own: Vec<&str> = ENV.into_iter().chain(argv.iter().copied()).collect();
    let words: Vec<&str> = match rights {
        Rights::Own => own.clone(),
        Rights::Sudo => ENV.into_iter().chain(["sudo", "-n", "--"]).chain(own.iter().copied()).collect(),
        Rights::SudoWithPassword => {
            // With -k nothing that sudo remembers counts: it takes the line in any case.
            let sudo = ENV.into_iter().chain(["sudo", "-k", "-S", "-p", "", "--"]).chain(ENV);
            let program = argv.iter().copied();
            match mark {
                None => sudo.chain(DEAF).chain(program).collect(),
                Some(mark) => sudo.chain(MARKED).chain([mark]).chain(program).collect(),
            }
        }
    };
    shlex::try_join(words).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(uri: &str) -> String {
        match Transport::of(uri) {
            Ok(Transport::Local) => "local".to_owned(),
            Ok(Transport::Ssh(target)) => {
                let all = target.arguments(&[]);
                let common = 3 + 2 * SETTINGS.len();
                let command = target.command.map(|command| format!("{}: ", command.display())).unwrap_or_default();
                format!("{command}{}", all[common..].join(" "))
            }
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn uris_are_read_as_libvirt_does() {
        let table = [
            ("qemu:///system", "local"),
            ("qemu+unix:///system?socket=/x", "local"),
            ("qemu+ssh://hv1/system", "-- hv1"),
            ("qemu+ssh://root@hv1:2222/system", "-p 2222 -l root -- hv1"),
            ("qemu+libssh2://root@[2001:db8::1]:22/system", "-p 22 -l root -- 2001:db8::1"),
            ("qemu+ssh://hv1/system?keyfile=/a%20b%26%2Bc&netcat=nc", "-i /a b&+c -- hv1"),
            ("qemu+ssh://hv1/system?keyfile=/a+b;command=/opt/ssh", "/opt/ssh: -i /a+b -- hv1"),
            ("qemu+ssh://hv1/system?no_verify=1#x", "-o StrictHostKeyChecking=no -- hv1"),
            ("qemu+ssh://hv1/system?no_verify=0", "-- hv1"),
            ("qemu+ssh://hv1/system?no_verify=yes", "-- hv1"),
            ("qemu+libssh://hv1/system?known_hosts_verify=ignore", "-o StrictHostKeyChecking=no -- hv1"),
            (
                "qemu+libssh://hv1/system?known_hosts=/k%25 h&known_hosts_verify=auto&sshauth=agent",
                "-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=\"/k%% h\" -- hv1",
            ),
        ];
        for (uri, expected) in table {
            assert_eq!(words(uri), expected, "{uri}");
        }
    }

    #[test]
    fn what_ssh_cannot_do_is_refused() {
        let table = [
            ("qemu://hv1/system", "its transport is tls, and they are run over SSH"),
            ("qemu+tcp://hv1/system", "its transport is tcp, and they are run over SSH"),
            ("qemu+ssh://-oProxyCommand=x/system", "\"-oProxyCommand=x\" is no host"),
            ("qemu+ssh://%2doProxyCommand=x/system", "\"-oProxyCommand=x\" is no host"),
            ("qemu+ssh://-lx@hv1/system", "\"-lx\" is no user"),
            ("qemu+ssh://root:secret@hv1/system", "a password is in it, and SSH takes none from there"),
            ("qemu+ssh://hv1/system?command=ssh", "its command \"ssh\" is no absolute path"),
            ("qemu+ssh://hv1/system?keyfile=a%0ab", "\"a\\nb\" holds control characters"),
            ("qemu+ssh://hv1/system?known_hosts=a%22b", "\"a\\\"b\" is no file of known hosts"),
            ("qemu+ssh://hv1/system?keyfile=%ff", "\"%ff\" is no UTF-8"),
        ];
        for (uri, why) in table {
            let shown = uri.replace(":secret", "");
            let expected = format!(
                "{shown} gives no way to run programs on the hypervisor: {why}\nname the hypervisor by qemu+ssh://USER@HOST/system"
            );
            assert_eq!(words(uri), expected);
        }
    }

    #[test]
    fn a_password_is_not_repeated() {
        let table = [
            ("qemu+ssh://root:secret@hv1:22/system?a=b", Some("qemu+ssh://root@hv1:22/system?a=b")),
            ("qemu+ssh://root:se/c@r:et@hv1/system", Some("qemu+ssh://root@hv1/system")),
            ("qemu://:secret@hv1/system", Some("qemu://@hv1/system")),
            ("qemu+ssh://root@hv1:22/system", None),
            ("qemu+ssh://hv1:22/system?keyfile=/a@b", None),
            ("qemu+ssh://root@[2001:db8::1]:22/system", None),
            ("test:///a:b@c.xml", None),
            ("ä", None),
        ];
        for (uri, shown) in table {
            assert_eq!(without_password(uri), shown.unwrap_or(uri));
            assert_eq!(check_password(uri).is_err(), shown.is_some(), "{uri}");
        }
        let said = check_password("qemu+ssh://root:secret@hv1/system").unwrap_err();
        let expected =
            "\"qemu+ssh://root@hv1/system\" has a password in it, which would be shown: leave it out, and log in by a key";
        assert_eq!(said, expected);
    }

    #[test]
    fn each_way_to_log_in_has_its_settings_before_all_others() {
        let target = |host_keys| SshTarget {
            host: "hv1".to_owned(),
            user: None,
            port: None,
            key: Some("/own".into()),
            command: None,
            known_hosts: None,
            host_keys,
        };
        let line = |host_keys, way| {
            let all = target(host_keys).arguments_by(way, &[]).join(" ");
            all.replace(&SETTINGS.map(|setting| format!("-o {setting}")).join(" "), "…")
        };
        let key = Path::new("/key");
        let by_key = "-o IdentitiesOnly=yes -o PubkeyAuthentication=yes -o PreferredAuthentications=publickey";
        let by_password = "-o BatchMode=no -o PubkeyAuthentication=no -o PasswordAuthentication=yes \
                           -o KbdInteractiveAuthentication=yes -o PreferredAuthentications=password,keyboard-interactive \
                           -o NumberOfPasswordPrompts=1";
        let table = [
            (HostKeys::Known, Way::Keys, "-T -e none … -i /own -- hv1".to_owned()),
            (HostKeys::Known, Way::Key(key), format!("-T -e none {by_key} … -i /key -- hv1")),
            (HostKeys::Known, Way::Password, format!("-T -e none {by_password} … -o StrictHostKeyChecking=yes -i /own -- hv1")),
            (
                HostKeys::AlsoNew,
                Way::Password,
                format!("-T -e none {by_password} … -o StrictHostKeyChecking=accept-new -i /own -- hv1"),
            ),
        ];
        for (host_keys, way, expected) in table {
            assert_eq!(line(host_keys, way), expected);
        }
    }

    #[test]
    fn root_is_who_sudo_makes_so() {
        let words = |rights, mark| shlex::split(&command_line_with(rights, mark, &["tee", "/a b"]).unwrap()).unwrap();
        let mut sudo = ENV.to_vec();
        assert_eq!(words(Rights::Own, Some("m"))[3..], ["tee", "/a b"]);
        sudo.extend(["sudo", "-n", "--"].into_iter().chain(ENV).chain(["tee", "/a b"]));
        assert_eq!(words(Rights::Sudo, Some("m")), sudo);
        assert_eq!(words(Rights::SudoWithPassword, None)[3..9], ["sudo", "-k", "-S", "-p", "", "--"]);
        assert_eq!(words(Rights::SudoWithPassword, None)[12..], [&DEAF[..], &["tee", "/a b"]].concat());
        assert_eq!(words(Rights::SudoWithPassword, Some("m"))[12..], [&MARKED[..], &["m", "tee", "/a b"]].concat());
    }

    #[test]
    fn a_command_line_is_just_its_words() {
        let words = ["lvs", "a b", "it's", "$(x) `y` \\ \"z\" !", "", "-S", "ä\nö"];
        let line = command_line(&words).unwrap();
        assert_eq!(shlex::split(&line).unwrap()[3..], words);
        assert!(line.starts_with("/usr/bin/env 'LC_ALL=C' 'PATH=/usr/local/sbin:"), "{line}");
        assert!(command_line(&["a\0b"]).is_err());
    }
}
