//! The hypervisors of the testbed, as the environment tells of them.

use std::{env, sync::Mutex, time::Duration};

use tpl::host::shell::{self, Shell};

/// Long enough for anything that the tests run there.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// For tests that make VMs, or stop a hypervisor: what they promise, or do not answer, the others would notice.
pub static ALONE: Mutex<()> = Mutex::new(());

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
