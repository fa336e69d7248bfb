//! How far the origin of what is installed could be checked. Stands in the manifest.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether somebody who is trusted vouches for the installer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Trust {
    /// A key of the keyring signed the list that leads to every file.
    Signed {
        /// The fingerprint of the certificate (its primary key), in upper-case hexadecimal digits.
        fingerprint: String,
    },
    /// The pipeline has the digest of each file.
    Pinned,
    /// They are files of this machine, which the operator has put there.
    Given,
    /// Nobody vouches for it, and the operator allowed that.
    Unsigned {
        /// Which link of the chain is missing.
        reason: String,
    },
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed { fingerprint } => write!(f, "signed by {fingerprint}"),
            Self::Pinned => f.write_str("of the digest in the pipeline"),
            Self::Given => f.write_str("given by the operator"),
            Self::Unsigned { reason } => write!(f, "not verified: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_manifest() {
        let table = [
            (Trust::Signed { fingerprint: "A1B2".into() }, r#"{"kind":"signed","fingerprint":"A1B2"}"#, "signed by A1B2"),
            (Trust::Pinned, r#"{"kind":"pinned"}"#, "of the digest in the pipeline"),
            (Trust::Given, r#"{"kind":"given"}"#, "given by the operator"),
            (
                Trust::Unsigned { reason: "no keyring".into() },
                r#"{"kind":"unsigned","reason":"no keyring"}"#,
                "not verified: no keyring",
            ),
        ];
        for (trust, json, text) in table {
            assert_eq!(serde_json::to_string(&trust).unwrap(), json);
            assert_eq!(serde_json::from_str::<Trust>(json).unwrap(), trust);
            assert_eq!(trust.to_string(), text);
        }
    }
}
