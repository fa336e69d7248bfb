//! The program itself: proxies out of the environment, two processes at once, `tpl cache`.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    server::{Proxy, Trick},
    world::{INITRD, KERNEL, World},
};

/// A mirror, and a folder with a pipeline that uses it.
struct Site {
    world: World,
    home: TempDir,
}

impl Site {
    fn new(mirror: Option<&str>) -> Self {
        let site = Self { world: World::new(), home: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap() };
        let own = format!("http://{}/debian", site.world.server.address);
        let pipeline = include_str!("../../pipelines/debian13.toml")
            .replace("/usr/share/keyrings/debian-archive-keyring.gpg", &site.world.keyring().display().to_string())
            .replace("suite = ", &format!("mirror = \"{}\"\nsuite = ", mirror.unwrap_or(&own)));
        let files = [
            ("pipelines/lab.toml", pipeline.as_str()),
            ("preseed/debian.cfg", include_str!("../../preseed/debian.cfg")),
            (".config/tpl/config.toml", &format!("cache = \"{}\"\n", site.cache().display())),
        ];
        for (file, text) in files {
            let path = site.home.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        site
    }

    fn cache(&self) -> PathBuf {
        self.home.path().join("cache")
    }

    /// The command, with an environment that holds nothing of the tester's.
    fn command(&self, args: &[&str]) -> Command {
        #[expect(clippy::disallowed_methods, reason = "the rule is for the program, not for its tests")]
        let mut command = Command::new(env!("CARGO_BIN_EXE_tpl"));
        command.env_clear().env("HOME", self.home.path()).env("XDG_CONFIG_HOME", self.home.path().join(".config"));
        command.env("PATH", "/usr/bin:/bin").current_dir(self.home.path()).stdin(Stdio::null()).args(args);
        command
    }

    fn tpl(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.tpl(&[args, &["--output", "json"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_usual_variables_name_the_proxy() {
    // Nobody knows this name: only a proxy can lead there.
    let site = Site::new(Some("http://mirror.invalid/debian"));
    let proxy = Proxy::start(&site.world.server.address);
    let url = format!("http://{}", proxy.address);
    let output = site.command(&["cache", "fetch", "lab"]).env("http_proxy", &url).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let seen = proxy.seen();
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(seen.iter().all(|line| line.starts_with("GET http://mirror.invalid/debian/dists/trixie/")), "{seen:?}");
    // https goes through a tunnel, which this proxy does not dig.
    let site = Site::new(Some("https://mirror.invalid/debian"));
    let output = site.command(&["cache", "fetch", "lab"]).env("https_proxy", &url).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let seen = proxy.seen();
    assert!(!seen.is_empty() && seen.iter().all(|line| line == "CONNECT mirror.invalid:443 HTTP/1.1"), "{seen:?}");
}

#[test]
fn no_proxy_names_those_that_are_asked_directly() {
    let site = Site::new(None);
    let proxy = Proxy::start(&site.world.server.address);
    let mut command = site.command(&["cache", "fetch", "lab"]);
    let output = command.env("http_proxy", format!("http://{}", proxy.address)).env("no_proxy", "127.0.0.1").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(proxy.seen(), Vec::<String>::new());
}

#[test]
fn two_processes_share_one_download() {
    let site = Site::new(None);
    site.world.server.trick(KERNEL, &[Trick::Late(Duration::from_millis(800)), Trick::Late(Duration::from_millis(800))]);
    let mut children: Vec<_> = (0..2)
        .map(|_| site.command(&["cache", "fetch", "lab"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    let outputs: Vec<Output> = children.drain(..).map(|child| child.wait_with_output().unwrap()).collect();
    assert!(outputs.iter().all(|output| output.status.success()), "{outputs:?}");
    let seen = site.world.server.seen();
    for file in ["linux", "initrd.gz"] {
        assert_eq!(seen.iter().filter(|name| *name == file).count(), 1, "{seen:?}");
    }
    let waits = "waiting for another tpl that fetches linux just now";
    assert!(outputs.iter().any(|output| stderr(output).contains(waits)), "{outputs:?}");
}

#[test]
fn the_cache_is_filled_listed_and_pruned() {
    let site = Site::new(None);
    let empty = site.tpl(&["cache", "list"]);
    let expected = format!("{} is empty: `tpl build` and `tpl cache fetch` fill it\n", site.cache().display());
    assert_eq!(String::from_utf8(empty.stdout).unwrap(), expected);
    let fetched = site.json(&["cache", "fetch", "lab"]);
    let roles: Vec<_> = fetched.as_array().unwrap().iter().map(|row| row["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["the kernel", "the initrd"]);
    assert_eq!(fetched[0]["trust"]["kind"], "signed");
    let listed = site.json(&["cache", "list"]);
    let rows = listed.as_array().unwrap();
    let mut urls: Vec<_> = rows.iter().map(|row| row["urls"][0].as_str().unwrap().to_owned()).collect();
    urls.sort();
    let address = &site.world.server.address;
    assert_eq!(urls, [INITRD, KERNEL].map(|path| format!("http://{address}{path}")));
    assert!(rows.iter().all(|row| row["algorithm"] == "sha256" && row["partial"] == false));
    // Nothing is old, so nothing goes; with no age everything does.
    assert_eq!(site.json(&["cache", "prune"])["removed"], serde_json::json!([]));
    let dry = site.json(&["cache", "prune", "--older-than", "0d", "--dry-run"]);
    assert_eq!((dry["removed"].as_array().unwrap().len(), dry["bytes"].as_u64()), (2, Some(500_000)));
    assert_eq!(site.json(&["cache", "list"]), listed);
    let pruned = site.json(&["cache", "prune", "--older-than", "0d"]);
    assert_eq!((&pruned["removed"], &pruned["dry_run"]), (&dry["removed"], &Value::Bool(false)));
    assert_eq!(site.json(&["cache", "list"]), serde_json::json!([]));
    fs::remove_dir_all(site.cache()).unwrap();
    fs::write(site.cache(), "x").unwrap();
    let said = stderr(&site.tpl(&["cache", "list"]));
    assert_eq!(said, format!("tpl: {} is no folder, and so it is no cache\n", site.cache().display()));
}

#[test]
fn what_cannot_be_verified_is_refused() {
    let site = Site::new(None);
    fs::remove_file(site.world.keyring()).unwrap();
    let output = site.tpl(&["cache", "fetch", "lab"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), [].as_slice()), "{}", stderr(&output));
    assert!(stderr(&output).contains("the installer of trixie for amd64 cannot be verified: the keyring "));
    let output = site.tpl(&["cache", "fetch", "none"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}
