//! The user-data that a domain's defaults come to.

use serde::Serialize;

use crate::core::{
    guest::{PasswordHash, UserData},
    seed::mime::{Part, archive},
};

/// How the password's part is merged with the operator's: what that says, stays.
const MERGE: &str = "dict(no_replace)+list()+str()";

/// What cloud-init's module `set_passwords` reads, for the image's default user.
#[derive(Serialize)]
struct Password<'a> {
    password: &'a str,
    chpasswd: Expire,
}

#[derive(Serialize)]
struct Expire {
    expire: bool,
}

/// The operator's user-data with the password in it; none without either.
pub fn with_password(operators: Option<&UserData>, password: Option<&PasswordHash>) -> Option<String> {
    let Some(password) = password else { return operators.map(|data| data.text().expose().clone()) };
    // JSON is YAML, and a hash has nothing in it that JSON would have to escape.
    let config = Password { password: password.expose(), chpasswd: Expire { expire: false } };
    let config = format!("#cloud-config\n{}\n", serde_json::to_string(&config).unwrap_or_default());
    let Some(operators) = operators else { return Some(config) };
    Some(archive(&[
        Part { kind: operators.kind().mime_type(), name: "user-data", merge: None, text: operators.text().expose() },
        Part { kind: Some("text/cloud-config"), name: "password", merge: Some(MERGE), text: &config },
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_beside_the_operators_own() {
        let hash = format!("$6$salt${}", "x".repeat(86)).parse::<PasswordHash>().unwrap();
        let own = UserData::parse("x", b"#!/bin/sh\ntrue\n").unwrap();
        let config = format!("#cloud-config\n{{\"password\":\"{}\",\"chpasswd\":{{\"expire\":false}}}}\n", hash.expose());
        assert_eq!(with_password(None, None), None);
        assert_eq!(with_password(Some(&own), None).as_deref(), Some("#!/bin/sh\ntrue\n"));
        assert_eq!(with_password(None, Some(&hash)), Some(config.clone()));
        let both = with_password(Some(&own), Some(&hash)).unwrap();
        assert!(
            both.starts_with("Content-Type: multipart/mixed;") && both.contains("#!/bin/sh\ntrue\n") && both.contains(&config)
        );
    }
}
