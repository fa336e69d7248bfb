//! A link of the chain of trust that is missing: refused, or let pass and written down.

use crate::core::{error::Refusal, progress::Progress, trust::Trust};

const WAY_OUT: &str = "--allow-unsigned (or TPL_ALLOW_UNSIGNED=1) goes on without that check";

/// What is to be verified, and whether that may fail.
pub struct Vouching {
    /// `the installer of trixie for amd64`.
    pub what: String,
    /// Whether a missing link is noted and not refused.
    pub allow_unsigned: bool,
    /// What would mend it, as a clause.
    pub hint: Option<String>,
}

impl Vouching {
    /// Lets a missing link pass where the operator allowed that.
    ///
    /// # Errors
    /// He did not.
    pub fn tolerate(&self, reason: &str) -> Result<(), Refusal> {
        if self.allow_unsigned {
            return Ok(());
        }
        let advice = match &self.hint {
            Some(hint) => format!("{hint}; {WAY_OUT}"),
            None => WAY_OUT.to_owned(),
        };
        Err(Refusal::new(format!("{} cannot be verified: {reason}", self.what)).advise(advice))
    }

    /// What goes into the manifest: who signed, or what is missing and was allowed; the latter is said too.
    ///
    /// # Errors
    /// It is missing, and was not allowed.
    pub fn trust(&self, signed: Result<String, String>, progress: &dyn Progress) -> Result<Trust, Refusal> {
        match signed {
            Ok(fingerprint) => Ok(Trust::Signed { fingerprint }),
            Err(reason) => {
                self.tolerate(&reason)?;
                progress.note(&format!("{} is not verified: {reason}", self.what));
                Ok(Trust::Unsigned { reason })
            }
        }
    }
}
