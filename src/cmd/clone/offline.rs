//! What clones without cloud-init are told, in the words of [`crate::offline`].

use std::path::PathBuf;

use super::vm::Made;
use crate::{
    core::{extra_disks::disk_serial, guest::Guest},
    offline::{ExtraDisk, File, Identity, Target, User},
};

/// A clone's disk, and what is to be written into it.
pub fn target(made: &Made) -> anyhow::Result<Target<'_>> {
    let planned = &made.planned;
    Ok(Target {
        disk: PathBuf::from(made.path_of(&planned.disk_volume())?),
        format: planned.keeping.format(),
        identity: Identity {
            name: &planned.name,
            domain: planned.place.config.search.first(),
            uuid: planned.uuid,
            users: users(&planned.guest),
            host_key: (&made.host_key.private, &made.host_key.public),
            cards: planned.cards(),
            timezone: planned.guest.timezone.as_ref().map(|word| word.as_str()),
            locale: planned.guest.locale.as_ref().map(|word| word.as_str()),
            files: planned.guest.write_files.iter().map(file).collect(),
            disks: disks(made)?,
        },
    })
}

fn users(guest: &Guest) -> Vec<User<'_>> {
    let default = guest.user.as_ref().map(|name| User {
        name,
        keys: &guest.keys,
        password_hash: guest.password_hash.as_ref().map(|hash| hash.secret()),
        groups: &[],
        sudo: true,
    });
    let others = guest.users.iter().map(|user| User {
        name: &user.name,
        keys: &user.keys,
        password_hash: user.password_hash.as_ref().map(|hash| hash.secret()),
        groups: &user.groups,
        sudo: user.sudo,
    });
    default.into_iter().chain(others).collect()
}

fn file(file: &crate::core::guest::File) -> File<'_> {
    File {
        path: &file.path,
        content: file.content.expose(),
        mode: file.mode.map(|mode| mode.bits()),
        owner: file.owner.as_ref().map(|owner| owner.as_str()),
    }
}

fn disks(made: &Made) -> anyhow::Result<Vec<ExtraDisk>> {
    let planned = &made.planned;
    let volumes = planned.extra_volumes().zip(&planned.extra_disks).enumerate();
    volumes
        .map(|(index, ((volume, _), disk))| {
            Ok(ExtraDisk {
                path: PathBuf::from(made.path_of(&volume)?),
                format: planned.keeping.format(),
                serial: disk_serial(planned.uuid, index),
                filesystem: disk.fs,
                label: disk.label.clone(),
                mount: disk.mount.clone(),
                options: disk.options.as_ref().map(|options| options.as_str().to_owned()),
                force: disk.force,
            })
        })
        .collect()
}
