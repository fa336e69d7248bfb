//! What OpenSSH says of a login that did not come about, of sudo, and of how it is configured.

/// Whether SSH has reached the host, which takes nothing of what it was offered. Anything else is no reason to try another way.
pub fn is_denied(said: &str) -> bool {
    said.contains("Permission denied (") || said.contains("Too many authentication failures")
}

/// Whether the host may take a password, from what SSH has said of a login that was denied: `Permission denied (publickey,password).`
pub fn may_take_password(said: &str) -> bool {
    let Some((_, rest)) = said.rsplit_once("Permission denied (") else {
        // It broke off before SSH has asked.
        return true;
    };
    let methods = rest.split(')').next().unwrap_or_default();
    methods.split(',').any(|method| matches!(method, "password" | "keyboard-interactive"))
}

/// What sudo makes of who asks it for root's rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sudo {
    /// The password is wrong.
    WrongPassword,
    /// It asks for a password.
    AsksPassword,
    /// It does not do this for the user.
    NotAllowed,
    /// Something else is wrong.
    Other,
}

/// Reads what sudo has said, in the locale C, when it did not run a program.
pub fn sudo_said(said: &str) -> Sudo {
    let any = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
    if any(&[
        "not in the sudoers file",
        "is not allowed to",
        "may not run sudo",
        "not allowed to run sudo",
        "not allowed to execute",
    ]) {
        Sudo::NotAllowed
    } else if any(&[
        "incorrect password attempt",
        "incorrect authentication attempt",
        "Sorry, try again",
        "Authentication failure",
    ]) {
        Sudo::WrongPassword
    } else if any(&["a password is required", "a terminal is required", "interactive authentication is required"]) {
        Sudo::AsksPassword
    } else {
        Sudo::Other
    }
}

/// How SSH is configured for a host: what `ssh -G` prints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configured {
    /// Who logs in.
    pub user: String,
    /// The name or address that is connected to.
    pub hostname: String,
    /// Its port.
    pub port: String,
    /// The name that its key is known by, where that is another one.
    pub alias: Option<String>,
    /// The user's files of known hosts.
    pub user_files: Vec<String>,
    /// The files of private keys that are tried, as they are written: `~/.ssh/id_ed25519`.
    pub identities: Vec<String>,
    /// The patterns of environment variables that are sent on.
    pub sent: Vec<String>,
    /// The ciphers that are offered, the preferred one first.
    pub ciphers: Vec<String>,
}

impl Configured {
    /// Reads it.
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(' ') else { continue };
            let value = value.trim();
            match key {
                "user" => value.clone_into(&mut found.user),
                "hostname" => value.clone_into(&mut found.hostname),
                "port" => value.clone_into(&mut found.port),
                "hostkeyalias" if value != "none" => found.alias = Some(value.to_owned()),
                "userknownhostsfile" => found.user_files = value.split_whitespace().map(str::to_owned).collect(),
                "identityfile" => found.identities.push(value.to_owned()),
                "ciphers" => found.ciphers = value.split(',').map(str::to_owned).collect(),
                "sendenv" => found.sent.extend(value.split_whitespace().map(str::to_owned)),
                _ => {}
            }
        }
        found
    }

    /// The name that the host's key stands under in files of known hosts: sshd(8).
    pub fn known_as(&self) -> String {
        match &self.alias {
            Some(alias) => alias.clone(),
            None if self.port == "22" || self.port.is_empty() => self.hostname.to_lowercase(),
            None => format!("[{}]:{}", self.hostname.to_lowercase(), self.port),
        }
    }

    /// The setting that prefers AES in Galois/Counter Mode, where it is offered and something else is preferred: with a processor's
    /// instructions for it, it takes a fraction of the time of OpenSSH's own first choice, ChaCha20-Poly1305. No cipher is offered by
    /// this that the user's configuration does not offer.
    pub fn aes_first(&self) -> Option<String> {
        let mut ciphers: Vec<&str> = self.ciphers.iter().map(String::as_str).collect();
        ciphers.sort_by_key(|cipher| !cipher.contains("-gcm@"));
        (ciphers.first()?.contains("-gcm@") && ciphers != self.ciphers).then(|| format!("Ciphers={}", ciphers.join(",")))
    }

    /// Whether an environment variable would be sent to the host.
    pub fn sends(&self, variable: &str) -> bool {
        self.sent.iter().any(|pattern| matches(pattern.as_bytes(), variable.as_bytes()))
    }
}

/// Whether a pattern of SSH's, with `*` and `?`, fits a name as a whole.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|skipped| matches(rest, &name[skipped..])),
        (Some((b'?', rest)), Some((_, after))) => matches(rest, after),
        (Some((byte, rest)), Some((other, after))) if byte == other => matches(rest, after),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_only_for_who_takes_one() {
        let table = [
            ("admin@hv1: Permission denied (publickey,password).", (true, true)),
            ("admin@hv1: Permission denied (publickey,keyboard-interactive).", (true, true)),
            ("admin@hv1: Permission denied (publickey).", (true, false)),
            ("Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures", (true, true)),
            ("Host key verification failed.", (false, true)),
            ("ssh: connect to host hv1 port 22: Connection refused", (false, true)),
        ];
        for (said, expected) in table {
            assert_eq!((is_denied(said), may_take_password(said)), expected, "{said}");
        }
    }

    #[test]
    fn sudo_is_understood() {
        let table = [
            ("sudo: a password is required", Sudo::AsksPassword),
            ("Sorry, try again.\nsudo: no password was provided\nsudo: 1 incorrect password attempt", Sudo::WrongPassword),
            ("plain is not in the sudoers file.\nThis incident has been reported to the administrator.", Sudo::NotAllowed),
            ("Sorry, user plain is not allowed to execute '/usr/bin/env' as root on hv1.", Sudo::NotAllowed),
            ("Sorry, user plain may not run sudo on hv1.", Sudo::NotAllowed),
            ("sudo: /etc/sudoers:3:1: syntax error", Sudo::Other),
        ];
        for (said, expected) in table {
            assert_eq!(sudo_said(said), expected, "{said}");
        }
    }

    #[test]
    fn how_ssh_is_configured() {
        let text = "user admin\nhostname HV1.lab\nport 22\nuserknownhostsfile /a/known_hosts /a/known_hosts2\nsendenv LANG\n\
                    sendenv LC_*\nproxyjump gate\n";
        let mut found = Configured::parse(text);
        assert_eq!((found.user.as_str(), found.known_as().as_str()), ("admin", "hv1.lab"));
        assert_eq!(found.user_files, ["/a/known_hosts", "/a/known_hosts2"]);
        assert_eq!((found.sends("LC_ALL"), found.sends("TPL_X")), (true, false));
        "2222".clone_into(&mut found.port);
        assert_eq!(found.known_as(), "[hv1.lab]:2222");
        assert_eq!(found.aes_first(), None);
        found = Configured::parse(&format!("{text}hostkeyalias lab\nsendenv T?L_*X"));
        assert_eq!((found.known_as().as_str(), found.sends("TPL_1X"), found.sends("TPL_1")), ("lab", true, false));
    }

    #[test]
    fn aes_comes_first_where_it_is_offered() {
        let table = [
            (
                "chacha20-poly1305@openssh.com,aes128-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com",
                Some("Ciphers=aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr"),
            ),
            ("aes256-gcm@openssh.com,aes128-ctr", None),
            ("chacha20-poly1305@openssh.com,aes128-ctr", None),
        ];
        for (ciphers, expected) in table {
            assert_eq!(Configured::parse(&format!("ciphers {ciphers}\n")).aes_first().as_deref(), expected, "{ciphers}");
        }
    }
}
