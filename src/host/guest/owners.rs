//! [`Owners`] by libguestfs.

use anyhow::{Result, ensure};

use super::{FileKind, Files as _, Owners, appliance::Session};

impl Owners for Session {
    fn make_directory(&self, path: &str) -> Result<bool> {
        let what = format!("making directory {path}");
        if let Some(stat) = self.stat(path)? {
            ensure!(stat.kind == FileKind::Directory, "{what}: something else is there");
            return Ok(false);
        }
        self.call(&what, |g| g.mkdir_p(path))?;
        Ok(true)
    }

    fn set_mode(&self, path: &str, mode: u32) -> Result<()> {
        let bits = i32::try_from(mode & 0o7777)?;
        self.call(&format!("setting the mode of {path}"), |g| g.chmod(bits, path))
    }

    fn set_owner(&self, path: &str, user: u32, group: u32) -> Result<()> {
        let (user, group) = (i32::try_from(user)?, i32::try_from(group)?);
        self.call(&format!("setting the owner of {path}"), |g| g.chown(user, group, path))
    }

    fn make_link(&self, path: &str, target: &str) -> Result<()> {
        self.call(&format!("linking {path}"), |g| g.ln_sf(target, path))
    }

    fn link_target(&self, path: &str) -> Result<Option<String>> {
        let stat = self.find(&format!("looking at {path}"), |g| g.lstatns(path))?;
        // Inode mode bits as in stat(2).
        if stat.is_none_or(|stat| stat.st_mode & 0o170_000 != 0o120_000) {
            return Ok(None);
        }
        self.find(&format!("reading link {path}"), |g| g.readlink(path))
    }
}
