//! Disks, files and users in one word each, as a flag on a command line has them.

use std::{path::PathBuf, str::FromStr};

use super::{ExtraDisk, GuestFile, GuestUser};
use crate::core::quoted::quoted;

impl FromStr for ExtraDisk {
    type Err = String;

    /// `size=10G,fs=ext4,label=data,mount=/srv,options=noatime+discard,force`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut size = None;
        let mut disk =
            Self { size: Default::default(), fs: None, label: None, mount: None, options: None, force: false, moved: false };
        for part in text.split(',') {
            match part.split_once('=').unwrap_or((part, "")) {
                ("size", value) => size = Some(value.parse()?),
                ("fs", value) => disk.fs = Some(value.parse()?),
                ("label", value) => disk.label = Some(value.parse()?),
                ("mount", value) => disk.mount = Some(value.parse()?),
                // A comma ends the part.
                ("options", value) => disk.options = Some(value.replace('+', ",").parse()?),
                ("force", "") => disk.force = true,
                ("move", "") => disk.moved = true,
                _ => {
                    return Err(format!(
                        "{} says nothing about a disk: there are size=, fs=, label=, mount=, options=, force and move",
                        quoted(part)
                    ));
                }
            }
        }
        let size = size.ok_or_else(|| format!("{} names no size: write size=10G", quoted(text)))?;
        Ok(Self { size, ..disk })
    }
}

impl FromStr for GuestFile {
    type Err = String;

    /// `FILE:PATH` or `FILE:PATH:MODE`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(source), Some(path), mode, None) if !source.is_empty() => Ok(Self {
                path: path.parse()?,
                content: None,
                source: Some(PathBuf::from(source)),
                mode: mode.map(str::parse).transpose()?,
                owner: None,
            }),
            _ => Err(format!(
                "{} is no file to write: write FILE:PATH or FILE:PATH:MODE, as in motd.txt:/etc/motd:0644",
                quoted(text)
            )),
        }
    }
}

impl FromStr for GuestUser {
    type Err = String;

    /// `NAME`, and with commas behind it `sudo`, `key=FILE`, `group=NAME`, `password-hash=FILE`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default().parse()?;
        let mut user =
            Self { name, ssh_keys: vec![], ssh_key_files: vec![], password_hash_file: None, groups: vec![], sudo: false };
        for part in parts {
            match part.split_once('=').unwrap_or((part, "")) {
                ("sudo", "") => user.sudo = true,
                ("key", file) if !file.is_empty() => user.ssh_key_files.push(file.into()),
                ("group", group) => user.groups.push(group.parse()?),
                ("password-hash", file) if !file.is_empty() => user.password_hash_file = Some(file.into()),
                _ => {
                    return Err(format!(
                        "{} says nothing about a user: there are sudo, key=FILE, group=NAME and password-hash=FILE",
                        quoted(part)
                    ));
                }
            }
        }
        Ok(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::toml_text;

    fn of_a_file<T: serde::de::DeserializeOwned>(text: &str) -> T {
        toml_text::parse("f", text).unwrap()
    }

    #[test]
    fn a_flag_says_what_a_file_says() {
        assert_eq!(
            "size=10G,fs=ext4,label=data,mount=/srv,options=noatime+discard,force".parse::<ExtraDisk>().unwrap(),
            of_a_file("size = '10G'\nfs = 'ext4'\nlabel = 'data'\nmount = '/srv'\noptions = 'noatime,discard'\nforce = true")
        );
        assert_eq!(
            "size=10G,fs=ext4,mount=/var,move".parse::<ExtraDisk>().unwrap(),
            of_a_file("size = '10G'\nfs = 'ext4'\nmount = '/var'\nmove = true")
        );
        assert_eq!(
            "motd:/etc/motd:0644".parse::<GuestFile>().unwrap(),
            of_a_file("source = 'motd'\npath = '/etc/motd'\nmode = '0644'")
        );
        assert_eq!(
            "op,sudo,key=op.pub,group=adm,password-hash=op.hash".parse::<GuestUser>().unwrap(),
            of_a_file("name = 'op'\nsudo = true\nssh_key_files = ['op.pub']\ngroups = ['adm']\npassword_hash_file = 'op.hash'")
        );
    }

    #[test]
    fn what_says_nothing_is_refused() {
        let table = [
            ("fs=ext4", "\"fs=ext4\" names no size: write size=10G"),
            ("size=1G,x=y", "\"x=y\" says nothing about a disk: there are size=, fs=, label=, mount=, options=, force and move"),
            ("size=1G,fs=ntfs", "\"ntfs\" is no file system for extra disks: there are ext4, xfs"),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<ExtraDisk>().unwrap_err(), expected);
        }
        for bad in ["", "a", ":/etc/motd", "a:etc", "a:/b:9", "a:/b:644:x"] {
            assert!(bad.parse::<GuestFile>().is_err(), "{bad}");
        }
        for bad in ["", "Op", "op,x", "op,key=", "op,sudo=yes"] {
            assert!(bad.parse::<GuestUser>().is_err(), "{bad}");
        }
    }
}
