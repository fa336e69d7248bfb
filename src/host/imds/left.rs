//! What a service has left that was killed: the next one takes it away, or `tpl prune`.

use anyhow::{Result, bail};

use super::{
    kernel::{self, Bridge},
    lock::Lock,
    wires,
};

/// One thing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// The address on a bridge.
    Address(Bridge),
    /// The rules of the packet filter.
    Rules,
}

/// All of it. Nothing where a service runs: then it is that one's.
///
/// # Errors
/// The kernel cannot be asked.
pub fn find() -> Result<Vec<Left>> {
    if !rustix::process::geteuid().is_root() {
        // Who cannot take it away does not look.
        return Ok(Vec::new());
    }
    let Some(lock) = Lock::take()? else { return Ok(Vec::new()) };
    let addresses = kernel::labelled()?.into_iter().map(Left::Address);
    let all = addresses.chain(wires::are_there()?.then_some(Left::Rules)).collect();
    lock.end();
    Ok(all)
}

/// Takes it away.
///
/// # Errors
/// The kernel refuses.
pub fn take_away(left: &Left) -> Result<()> {
    let Some(lock) = Lock::take()? else { bail!("a metadata service has begun meanwhile, and takes it over") };
    match left {
        Left::Address(bridge) => kernel::remove_address(bridge)?,
        Left::Rules => wires::clear()?,
    }
    lock.end();
    Ok(())
}
