//! The shared template: built for real, and killed with SIGKILL in the middle of the installation and of sealing.

use std::{sync::OnceLock, time::Duration};

use serde_json::Value;

use super::lab::{Background, TEMPLATE, left, pipeline, pool, tpl, virsh};

const MINUTE: Duration = Duration::from_secs(60);

/// The report of the build, which the first test that asks for it runs.
pub fn template() -> &'static Value {
    static REPORT: OnceLock<Option<Value>> = OnceLock::new();
    // A build that failed is not made again for the next test: that takes a quarter of an hour each.
    let report = REPORT.get_or_init(|| std::panic::catch_unwind(build_with_kills).ok());
    report.as_ref().unwrap_or_else(|| panic!("the template could not be built; the first test that needed it says why"))
}

/// The template as `NAME@VERSION`. Whoever writes tests may name one that is there already, and wait for no installation.
pub fn template_id() -> String {
    if let Ok(id) = std::env::var("TPL_E2E_TEMPLATE") {
        return id;
    }
    format!("{TEMPLATE}@{}", template()["version"].as_str().unwrap())
}

fn build_with_kills() -> Value {
    let file = pipeline(TEMPLATE);
    let mut first = Background::start("build", &["build", &file]);
    first.wait_for("install: loading installer components", 10 * MINUTE);
    let second = tpl(&["build", &file]);
    assert_eq!(second.code, 3, "{second:#?}");
    assert!(second.stderr.starts_with(&format!("tpl: {TEMPLATE} is being built already, by process ")), "{second:#?}");
    first.kill();
    assert_eq!(states(), ["building"], "a killed build is there, and not published");

    let mut second = Background::start("resume-install", &["build", &file, "--resume", "--output", "json"]);
    second.wait_for("seal: shrinking", 60 * MINUTE);
    second.kill();
    assert_eq!(states(), ["installed"], "a killed seal costs no installation");

    let third = Background::start("resume-seal", &["build", &file, "--resume", "--output", "json"]).end();
    let report = third.json();
    assert!(third.stderr.contains("resuming tpl-e2e@"), "{third:#?}");
    assert_eq!(states(), ["published"]);
    report
}

/// The states of the template's versions in this run's pool: what another run, which was killed, has left in another one says nothing.
fn states() -> Vec<String> {
    let list = tpl(&["list", "--output", "json"]).json();
    let pool = format!("\"pool\":\"{}\"", pool());
    let ours = |row: &&Value| {
        row["name"] == TEMPLATE
            && virsh(&["dumpxml", &format!("{TEMPLATE}.{}", row["version"].as_str().unwrap())]).contains(&pool)
    };
    list.as_array().unwrap().iter().filter(ours).map(|row| row["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_build_that_is_killed_twice_is_published_in_the_end() {
    let report = template();
    let version = report["version"].as_str().unwrap();
    assert_eq!(report["name"], TEMPLATE);
    assert_eq!(report["digest"].as_str().unwrap().len(), 64);
    let stages: Vec<_> = report["stages"].as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    for stage in ["install", "seal", "verify", "boot test", "publish"] {
        assert!(stages.contains(&stage), "{stages:?}");
    }
    let mut rest = left(&format!("{TEMPLATE}."));
    rest.sort();
    let domain = format!("{TEMPLATE}.{version}");
    assert_eq!(rest, [domain.clone(), domain.clone(), format!("{domain}-chunks")], "a domain, its volume, its chunk list");
}

#[test]
fn a_build_that_would_make_the_same_again_is_not_made() {
    template();
    let unchanged = tpl(&["build", &pipeline(TEMPLATE), "--if-changed", "--output", "json"]);
    let report = unchanged.json();
    assert_eq!((&report["changed"], &report["version"]), (&Value::Bool(false), &template()["version"]));
    assert!(unchanged.stderr.contains("unchanged: tpl-e2e@"), "{unchanged:#?}");
}
