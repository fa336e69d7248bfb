//! Installers' logs and answer files. They hold password hashes, and name the build's network.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::destroy,
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "installer",
    summary: "removes what installers leave: logs, answers, password hashes",
    families: &[],
    default: true,
    run,
};

const SECRETS: [&str; 23] = [
    "/var/log/installer",
    "/var/log/anaconda",
    "/var/log/YaST2/*",
    "/root/anaconda-ks.cfg",
    "/root/original-ks.cfg",
    "/root/initial-setup-ks.cfg",
    "/root/anaconda-*.log",
    "/root/ks*.log",
    "/root/install.log*",
    "/root/autoinst.xml",
    "/var/lib/autoinstall",
    "/var/adm/autoinstall",
    "/preseed.cfg",
    "/autoinstall.yaml",
    "/var/log/curtin",
    "/root/curtin-install*",
    // Ubuntu's installer: the first holds the user and the password hash, the others keep cloud-init off a clone's network.
    "/etc/cloud/cloud.cfg.d/99-installer.cfg",
    "/etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg",
    "/etc/cloud/cloud.cfg.d/50-curtin-networking.cfg",
    // The package lists from before the installer wrote its own. Not `curtin-preserve-sources.cfg`: without it cloud-init
    // writes over the mirror that the answers gave.
    "/etc/apt/sources.list.curtin.*",
    "/etc/apt/sources.list.d/*.curtin.*",
    "/root/ks.cfg",
    "/ks.cfg",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    destroy(files, &SECRETS)
}
