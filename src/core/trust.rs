//! placeholder until merge
use serde::{Deserialize, Serialize};

/// How sources were checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// Signed.
    Signed {
        /// fingerprint
        fingerprint: String,
    },
    /// Not.
    Unsigned {
        /// Why
        reason: String,
    },
}
