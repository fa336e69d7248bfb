//! The main job for real: libvirtd, QEMU, libguestfs and the installer from a mirror.
//!
//! One template is installed for all tests, and on its way the build is killed twice. Tests that need no template run beside
//! the installation. Everything here is called `tpl-e2e…`; `scripts/test` removes what a failed test has left.
//! The mirror comes from `TPL_DEBIAN_MIRROR`, else from this machine's own APT configuration.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::disallowed_methods, reason = "the tests look at the world with other tools than tpl")]

#[path = "dns/servers.rs"]
#[allow(dead_code, reason = "shared with other tests, which need other parts of it")]
mod servers;

#[path = "offline/appliance.rs"]
mod appliance;

mod e2e {
    pub mod lab;

    mod adopt;
    /// What needs no template. By its name it comes early, and so runs beside the installation of the one that the others share.
    mod alone {
        mod failures;
        mod media;
    }
    mod around;
    mod build;
    mod clones;
    mod derived;
    mod elsewhere;
    mod firmware;
    mod fleet;
    mod image;
    mod metadata;
    mod names;
    mod names_in_dns;
    mod offline;
    mod options;
    mod race;
    mod sealed;
}
