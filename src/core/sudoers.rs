//! What sudo is told on a hypervisor whose root may not log in.

use super::names::UserName;

/// The file of it, one for each user. Of two rules sudo takes the last one, and it reads no file of that folder whose name has a dot in
/// it or ends in a tilde: sudoers(5).
pub fn file(user: &UserName) -> String {
    format!("/etc/sudoers.d/zz-tpl-{}", user.as_str().replace('.', "%2e"))
}

/// Its mode: sudo wants nobody to write it but root.
pub const SUDOERS_MODE: u32 = 0o440;

/// Lets a user run everything as root without a password.
///
/// Nothing less would be any less: with a volume group as its pool, tpl runs scripts of the shell there, and `dd` onto devices.
pub fn drop_in(user: &UserName) -> String {
    format!(
        "# tpl works on the volume group by sudo, with nobody there to type a password. Written by tpl host bootstrap.\n{user} ALL=(root) NOPASSWD: ALL\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_it() {
        let user = "admin".parse().unwrap();
        assert_eq!(file(&user), "/etc/sudoers.d/zz-tpl-admin");
        let text = drop_in(&user);
        assert_eq!(text.lines().last(), Some("admin ALL=(root) NOPASSWD: ALL"));
        assert!(text.ends_with('\n') && text.lines().rev().skip(1).all(|line| line.starts_with("# ")));
    }
}
