//! The machine's identity at the snap store, and who is logged in there. snapd asks for a new serial with a new key where it has
//! none, as after its own "forget". The snaps and their seed stay.

use anyhow::Result;
use serde_json::Value;

use crate::{
    host::guest::Files,
    seal::{
        ops::{changed, destroy, homes, merge},
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "snapd",
    summary: "removes the machine's serial and key at the snap store, and logins there",
    families: &[],
    default: true,
    run,
};

const STATE: &str = "/var/lib/snapd/state.json";
/// The state of a desktop with many snaps has some MiB.
const STATE_LIMIT: usize = 64 << 20;
const SECRETS: [&str; 2] = ["/var/lib/snapd/device/private-keys-v1/*", "/var/lib/snapd/assertions/*/serial/*"];

fn run(files: &dyn Files) -> Result<Outcome> {
    let logins = homes(files, &[".snap/auth.json", "snap/auth.json"])?;
    let logins = destroy(files, &logins.iter().map(String::as_str).collect::<Vec<_>>())?;
    let state = files.read(STATE, STATE_LIMIT)?.unwrap_or_default();
    let state = match without_identity(&state) {
        Some(anonymous) => {
            files.write(STATE, &anonymous)?;
            changed([STATE.to_owned()])
        }
        None => Outcome::Unchanged,
    };
    Ok(merge([destroy(files, &SECRETS)?, logins, state]))
}

/// The state without serial, key and sessions; none if there are none in it, or it is no JSON.
fn without_identity(state: &[u8]) -> Option<Vec<u8>> {
    let mut state: Value = serde_json::from_slice(state).ok()?;
    let auth = state.pointer_mut("/data/auth")?.as_object_mut()?;
    let mut found = ["users", "macaroon-key"].into_iter().filter(|key| auth.remove(*key).is_some()).count();
    if let Some(device) = auth.get_mut("device").and_then(Value::as_object_mut) {
        found += ["serial", "key-id", "session-macaroon"].into_iter().filter(|key| device.remove(*key).is_some()).count();
    }
    (found > 0).then(|| serde_json::to_vec(&state).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_identity_goes() {
        let table = [
            (
                r#"{"data":{"auth":{"device":{"brand":"generic","key-id":"k","model":"generic-classic","serial":"s","session-macaroon":"m"},"last-id":1,"users":[{"id":1}]},"seeded":true},"last-change-id":7}"#,
                Some(
                    r#"{"data":{"auth":{"device":{"brand":"generic","model":"generic-classic"},"last-id":1},"seeded":true},"last-change-id":7}"#,
                ),
            ),
            (r#"{"data":{"auth":{"device":{"brand":"generic"}}}}"#, None),
            (r#"{"data":{}}"#, None),
            ("[1", None),
            ("", None),
        ];
        for (before, after) in table {
            assert_eq!(
                without_identity(before.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap()).as_deref(),
                after,
                "{before}"
            );
        }
    }
}
