//! The hypervisors of the testbed, as the environment tells of them.

use std::{
    env,
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use tpl::host::shell::{self, Shell};

/// Long enough for anything that the tests run there.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// For tests that make VMs, or stop a hypervisor: what they promise, or do not answer, the others would notice.
pub static ALONE: Mutex<()> = Mutex::new(());

/// Who uses the hypervisors, and who kills clients of theirs.
static USE: RwLock<()> = RwLock::new(());

/// A test's use of the hypervisors.
pub enum Turn {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

impl Turn {
    /// Beside others.
    pub fn shared() -> Self {
        Self::Shared { _guard: USE.read().unwrap_or_else(PoisonError::into_inner) }
    }

    /// For a test that halts a hypervisor, or kills clients: see [`revive`].
    pub fn alone() -> Self {
        Self::Alone { _guard: USE.write().unwrap_or_else(PoisonError::into_inner) }
    }
}

/// After a client was killed in the middle of an upload: libvirtd 11.3 has been seen to stand still for good then, its event loop
/// waiting for a lock that nobody else holds. No client can help that; it is restarted.
pub fn revive(bed: &str) {
    let shell = shell(bed);
    let answer = shell.run(&["timeout", "30", "virsh", "-q", "-c", "qemu:///system", "pool-list"], PATIENCE).unwrap();
    if answer.code != Some(0) {
        eprintln!("libvirtd on {bed} stands still, and is restarted");
        sh(shell.as_ref(), "systemctl kill -s KILL libvirtd; systemctl reset-failed libvirtd; systemctl start libvirtd");
    }
}

/// What `scripts/testbed env` sets.
pub fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set\nscripts/testbed up; eval \"$(scripts/testbed env)\""))
}

/// The URI of `bed1` or `bed2`.
pub fn uri(bed: &str) -> String {
    variable(&format!("TPL_TESTBED_{}_URI", bed.to_uppercase()))
}

/// The programs of `bed1` or `bed2`.
pub fn shell(bed: &str) -> Box<dyn Shell + Send> {
    shell::open(&uri(bed), bed)
}

/// Runs a line of shell there, which must succeed; what it printed.
pub fn sh(shell: &dyn Shell, line: &str) -> String {
    shell::run(shell, &["sh", "-c", line], PATIENCE).unwrap()
}
