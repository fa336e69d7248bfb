//! The table of seal operations: `tpl seal-ops` prints it, a pipeline chooses from it.

use anyhow::Result;

use crate::{core::error::Invalid, host::guest::Files, seal::ops};

/// A family of Linux distributions that an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Debian, Ubuntu and what is made from them.
    Debian,
    /// Fedora, RHEL, CentOS, Rocky, Alma.
    RedHat,
    /// openSUSE and SLES.
    Suse,
    /// Anything else.
    Other,
}

/// What an operation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing to do.
    Unchanged,
    /// The files that were removed, emptied or rewritten.
    Changed(Vec<String>),
}

/// One thing that sealing does.
#[derive(Debug)]
pub struct Operation {
    /// Its name in a pipeline's lists.
    pub name: &'static str,
    /// What it does, one line.
    pub summary: &'static str,
    /// The families that it is for; empty means all.
    pub families: &'static [Family],
    /// Whether it runs unless it is disabled.
    pub default: bool,
    /// Does it. The outer result is a broken operation, the inner what it changed.
    pub run: fn(&dyn Files) -> Result<Outcome>,
}

/// All operations, in the order in which they run.
pub fn table() -> &'static [Operation] {
    ops::ALL
}

/// The operations that a pipeline wants.
#[derive(Debug, Clone)]
pub struct Selection(Vec<&'static Operation>);

impl Default for Selection {
    fn default() -> Self {
        Self(table().iter().filter(|operation| operation.default).collect())
    }
}

impl Selection {
    /// The default operations and `enable`, without `disable`.
    ///
    /// # Errors
    /// A name that is not in the table, or that is in both lists.
    pub fn new(enable: &[String], disable: &[String]) -> Result<Self, Invalid> {
        let known = |name: &str| table().iter().any(|operation| operation.name == name);
        let mut findings = Vec::new();
        for name in enable.iter().chain(disable).filter(|name| !known(name)) {
            let names: Vec<_> = table().iter().map(|operation| operation.name).collect();
            findings.extend(Invalid::argument(format!("no seal operation '{name}'; there are: {}", names.join(", "))).findings);
        }
        for name in enable.iter().filter(|name| disable.contains(name)) {
            findings.extend(Invalid::argument(format!("seal operation '{name}' is both enabled and disabled")).findings);
        }
        if !findings.is_empty() {
            return Err(Invalid { findings });
        }
        let has = |list: &[String], operation: &Operation| list.iter().any(|name| name == operation.name);
        let wanted = |operation: &&Operation| (operation.default || has(enable, operation)) && !has(disable, operation);
        Ok(Self(table().iter().filter(wanted).collect()))
    }

    /// The selected operations that are for this family.
    pub fn for_family(&self, family: Family) -> Vec<&'static Operation> {
        let fits = |operation: &&&Operation| operation.families.is_empty() || operation.families.contains(&family);
        self.0.iter().filter(fits).copied().collect()
    }
}
