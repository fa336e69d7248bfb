//! What sudo is told on a hypervisor whose root may not log in.

use super::names::UserName;

/// The file of it. sudo reads no file of that folder whose name has a dot in it or ends in a tilde (sudoers(5)).
pub const SUDOERS: &str = "/etc/sudoers.d/10-tpl";
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
        let text = drop_in(&"admin".parse().unwrap());
        assert_eq!(text.lines().last(), Some("admin ALL=(root) NOPASSWD: ALL"));
        assert!(text.ends_with('\n') && text.lines().rev().skip(1).all(|line| line.starts_with("# ")));
    }
}
