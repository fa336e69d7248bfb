//! Several hypervisors: `--on`, `--all`, `TPL_CONFIG`.

use std::{
    io::Read as _,
    net::TcpListener,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::program::{Home, Ran, failed, printed};

const FULL: &str = concat!("test://", env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/test-driver.xml");
/// Nobody listens at this port, and no socket is at that path.
const REFUSED: &str = "qemu+tcp://127.0.0.1:1/system";
const GONE: &str = "qemu+unix:///system?socket=/nonexistent";

/// Two that answer; the first one is meant when none is named.
fn two() -> String {
    format!(
        "hypervisor = 'hv1'\n[admission]\ncap = 80\n[hypervisors.hv1]\nuri = '{FULL}'\n\
         [hypervisors.hv2]\nuri = 'test:///default'\npool = 'default-pool'\ncap = 50\ncpu_overcommit = 2\n"
    )
}

fn home(config: &str) -> Home {
    let home = Home::new();
    home.write(".config/tpl/config.toml", config);
    home
}

/// Runs to the end, which must come long before a test's does.
fn finished(mut command: Command) -> Ran {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if began.elapsed() > Duration::from_secs(120) => {
                child.kill().unwrap();
                panic!("it does not end");
            }
            None => thread::sleep(Duration::from_millis(20)),
        }
    };
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.unwrap().read_to_string(&mut stdout).unwrap();
    child.stderr.unwrap().read_to_string(&mut stderr).unwrap();
    Ran { code: status.code().unwrap(), stdout, stderr }
}

fn with(home: &Home, variables: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut command = home.command();
    command.envs(variables.iter().copied()).args(args);
    finished(command)
}

/// Hypervisor, pool, cap and overcommit, as a report has them.
fn capacity(ran: &Ran) -> (String, String, u64, f64) {
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let text = |key: &str| json[key].as_str().unwrap().to_owned();
    let policy = &json["policy"];
    (text("hypervisor"), text("pool"), policy["cap"].as_u64().unwrap(), policy["cpu_overcommit"].as_f64().unwrap())
}

#[test]
fn a_hypervisor_is_chosen_by_its_name() {
    let home = home(&two());
    let of = |variables: &[(&str, &str)], args: &[&str]| {
        let all = [&["capacity", "--output", "json"], args].concat();
        capacity(&with(&home, variables, &all))
    };
    let is = |name: &str, pool: &str, cap, overcommit| (name.to_owned(), pool.to_owned(), cap, overcommit);
    let (hv1, hv2) = (is("hv1", "default", 80, 1.0), is("hv2", "default-pool", 50, 2.0));
    assert_eq!(of(&[], &[]), hv1);
    assert_eq!(of(&[], &["--on", "hv2"]), hv2);
    assert_eq!(of(&[("TPL_ON", "hv2")], &[]), hv2);
    assert_eq!(of(&[("TPL_ON", "hv2")], &["--on", "hv1"]), hv1);
    // What is typed puts the other one's variable aside.
    assert_eq!(of(&[("TPL_URI", GONE)], &["--on", "hv2"]), hv2);
    assert_eq!(of(&[("TPL_ON", "hv2")], &["--connect", FULL]), is(FULL, "default", 80, 1.0));
    // Flags go over the hypervisor's own keys.
    assert_eq!(of(&[("TPL_CPU_OVERCOMMIT", "3")], &["--on", "hv2", "--cap", "70"]), is("hv2", "default-pool", 70, 3.0));
    let other = "tpl: pool nope does not exist\n`tpl doctor` says how to make one\n";
    assert_eq!(with(&home, &[], &["capacity", "--on", "hv2", "--pool", "nope"]), failed(1, other));
    let text = "AXIS    TOTAL    PLEDGED  CAP      FREE\n\
                vCPUs   32       2        16       14\n\
                memory  3 GiB    8 GiB    1.5 GiB  0 B\n\
                pool    100 GiB  0 B      50 GiB   50 GiB\n\
                hypervisor hv2, pool default-pool; 1 domain; the cap is 50 % of the total with 2 vCPUs for each logical CPU\n";
    assert_eq!(with(&home, &[], &["capacity", "--on", "hv2"]), printed(text));
}

#[test]
fn what_names_no_hypervisor_is_refused() {
    let home = home(&two());
    let unknown = "tpl: there is no hypervisor hv9 in the configuration\nthere are: hv1, hv2\n";
    assert_eq!(with(&home, &[], &["list", "--on", "hv9"]), failed(2, unknown));
    assert_eq!(with(&home, &[("TPL_ON", "hv9")], &["list", "--all"]), failed(2, unknown));
    let both = "tpl: TPL_ON and TPL_URI are both set, and each names a hypervisor\nunset one of them, or say --on or --connect\n";
    assert_eq!(with(&home, &[("TPL_ON", "hv1"), ("TPL_URI", FULL)], &["list"]), failed(2, both));
    let usage = "\n\nUsage: tpl [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n";
    let both = format!("error: --on and --connect each name a hypervisor: give one of them{usage}");
    assert_eq!(with(&home, &[], &["--connect", FULL, "list", "--on", "hv1"]), failed(2, &both));
    let both = format!("error: --all asks every hypervisor, --on one of them: give one of both{usage}");
    assert_eq!(with(&home, &[], &["list", "--all", "--on", "hv1"]), failed(2, &both));
    let away = format!("[hypervisors.hv3]\nuri = '{REFUSED}'\n");
    let text = format!(
        "tpl: hypervisor hv3: connecting to {REFUSED}: unable to connect to server at '127.0.0.1:1': Connection refused\n\
         `tpl doctor` checks libvirt and says what to do\n"
    );
    assert_eq!(with(&self::home(&away), &[], &["list", "--on", "hv3"]), failed(1, &text));
}

#[test]
fn one_file_can_stand_for_all() {
    let home = home("pool = 1");
    home.write("bed.toml", &two());
    home.write(
        "bad.toml",
        "pool = 1\n[hypervisors.hv1]\nuri = 'x'\nssh_key = 'k'\n[hypervisors.'HV2']\nuri = 'test:///default'\n",
    );
    let listed = |variables: &[(&str, &str)]| with(&home, variables, &["vms", "--on", "hv2"]);
    assert_eq!(listed(&[("TPL_CONFIG", "bed.toml")]), printed("there are no VMs of tpl's: `tpl clone` makes some\n"));
    let own = home.path().join(".config/tpl/config.toml").display().to_string();
    assert_eq!(listed(&[]), failed(2, &format!("tpl: {own}:1:8: invalid type: integer `1`, expected a string\n")));
    let absent = "tpl: none.toml: TPL_CONFIG names this file, and it cannot be read: No such file or directory (os error 2)\n";
    assert_eq!(listed(&[("TPL_CONFIG", "none.toml")]), failed(2, absent));
    let empty = "tpl: TPL_CONFIG is empty: it names a file\nunset it for the usual ones\n";
    assert_eq!(listed(&[("TPL_CONFIG", "")]), failed(2, empty));
    let faults = "tpl: bad.toml:1:8: invalid type: integer `1`, expected a string\n\
                  bad.toml:3:7: \"x\" is no connection: write a URI of libvirt's, as in qemu+ssh://root@hv1/system\n\
                  bad.toml:4:11: \"k\" is no absolute path\n\
                  bad.toml:5:14: \"HV2\" is no name of a hypervisor: 1 to 63 lower-case letters, digits and '-', no '-' at either end\n";
    assert_eq!(listed(&[("TPL_CONFIG", "bad.toml")]), failed(2, faults));
}

#[test]
fn those_that_answer_are_shown_whatever_the_others_do() {
    // It takes connections, and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let stuck = format!("qemu+tcp://127.0.0.1:{}/system", silent.local_addr().unwrap().port());
    let home = home(&format!(
        "{}[hypervisors.gone]\nuri = '{GONE}'\n[hypervisors.hv3]\nuri = '{REFUSED}'\n[hypervisors.stuck]\nuri = '{stuck}'\n",
        two()
    ));
    let missing = format!("connecting to {GONE}: Failed to connect socket to '/nonexistent': No such file or directory");
    let refused = format!("connecting to {REFUSED}: unable to connect to server at '127.0.0.1:1': Connection refused");
    let late = "no answer within 3s";
    let stderr = format!(
        "tpl: 3 of 5 hypervisors did not answer:\n  gone: {missing}\n  hv3: {refused}\n  stuck: {late}\n\
         `tpl doctor --on gone` checks one of them and says what to do\n"
    );
    let ask = |args: &[&str]| with(&home, &[], &[args, &["--all", "--timeout", "3s"]].concat());
    let but = |stdout: &str| Ran { code: 1, stdout: stdout.to_owned(), stderr: stderr.clone() };
    let list = "HYPERVISOR  NAME      VERSION          STATE      CURRENT  SIZE     ALLOCATED  CLONES  DIGEST\n\
                hv1         debian13  20261121-031000  published  yes      967 MiB  638 MiB    2       0123456789ab\n";
    assert_eq!(ask(&["list"]), but(list));
    let vms = "HYPERVISOR  NAME  TEMPLATE                  STATE    ADDRESS\n\
               hv1         web1  debian13@20261121-031000  running  192.0.2.2\n\
               hv1         web2  debian13@20261121-031000  shutoff  -\n";
    assert_eq!(ask(&["vms"]), but(vms));
    let capacity = "HYPERVISOR  AXIS    TOTAL    PLEDGED   CAP      FREE\n\
                    hv1         vCPUs   16       3         12       9\n\
                    hv1         memory  3 GiB    1.5 GiB   2.4 GiB  921.6 MiB\n\
                    hv1         pool    100 GiB  16.9 GiB  80 GiB   63.1 GiB\n\
                    hv2         vCPUs   32       2         16       14\n\
                    hv2         memory  3 GiB    8 GiB     1.5 GiB  0 B\n\
                    hv2         pool    100 GiB  0 B       50 GiB   50 GiB\n\
                    hv1: pool default; 4 domains, 1 template among them, pledging disk only; the cap is 80 % of the total\n\
                    hv2: pool default-pool; 1 domain; the cap is 50 % of the total with 2 vCPUs for each logical CPU\n";
    assert_eq!(ask(&["capacity"]), but(capacity));

    let ran = ask(&["vms", "--output", "json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, stderr.as_str()));
    let mut json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let vms = json[1]["vms"].take();
    assert_eq!(
        (vms[0]["name"].as_str(), vms[1]["name"].as_str(), vms.as_array().unwrap().len()),
        (Some("web1"), Some("web2"), 2)
    );
    let answer = |name: &str, uri: &str, error: Option<&str>, vms: serde_json::Value| serde_json::json!({"hypervisor": name, "uri": uri, "error": error, "vms": vms});
    let none = || serde_json::Value::Null;
    let expected = serde_json::json!([
        answer("gone", GONE, Some(&missing), none()),
        answer("hv1", FULL, None, none()),
        answer("hv2", "test:///default", None, serde_json::json!([])),
        answer("hv3", REFUSED, Some(&refused), none()),
        answer("stuck", &stuck, Some(late), none()),
    ]);
    assert_eq!(json, expected);
}

#[test]
fn one_that_says_nothing_is_not_waited_for_by_any_command() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let stuck = format!("qemu+tcp://127.0.0.1:{}/system", silent.local_addr().unwrap().port());
    let home = home(&format!("connect_timeout = '1s'\n{}[hypervisors.stuck]\nuri = '{stuck}'\n", two()));
    let said = |time: &str| {
        format!(
            "tpl: hypervisor stuck: connecting to {stuck}: no answer within {time}\n\
             is it up and on the network? --connect-timeout TIME waits longer\n"
        )
    };
    assert_eq!(with(&home, &[], &["list", "--on", "stuck"]), failed(1, &said("1s")));
    assert_eq!(with(&home, &[], &["prune", "--on", "stuck", "--connect-timeout", "2s"]), failed(1, &said("2s")));
    assert_eq!(with(&home, &[("TPL_CONNECT_TIMEOUT", "0")], &["destroy", "a", "--on", "hv1,stuck"]), failed(1, &said("0s")));
}

#[test]
fn several_are_for_those_commands_that_take_them() {
    let home = home(&format!("{}[hypervisors.same]\nuri = '{FULL}'\n", two()));
    let one = "tpl: hv1,hv2 are 2 hypervisors, and this command works on one\nonly `tpl clone` and `tpl destroy VM…` take several; \
               `tpl list`, `tpl vms` and `tpl capacity` show all with --all\n";
    assert_eq!(with(&home, &[], &["list", "--on", "hv1,hv2"]), failed(2, one));
    assert_eq!(with(&home, &[("TPL_ON", "hv1,hv2")], &["prune"]), failed(2, one));
    let twice = format!("tpl: hv1 and same are one hypervisor: both are {FULL}\n");
    assert_eq!(with(&home, &[], &["destroy", "web1", "--on", "hv1,same"]), failed(2, &twice));
    assert_eq!(with(&home, &[], &["push", "debian13", "--on", "hv2", "--to", "hv1,same"]), failed(2, &twice));
    let named = "tpl: hypervisor hv1 is named twice\n";
    assert_eq!(with(&home, &[], &["push", "debian13", "--on", "hv2", "--to", "hv1,hv1", "--dry-run"]), failed(2, named));
    let found = |names: &[&str]| with(&home, &[("TPL_ON", "hv2,hv1")], &[&["destroy", "--dry-run"], names].concat());
    assert_eq!(found(&["web2", "web1"]), printed("web2 would be destroyed on hv1\nweb1 would be destroyed on hv1\n"));
    let refused = "tpl: test on hv2 does not carry tpl's metadata: tpl has not made it, and leaves it alone\n\
                   there is no VM nope on hv2, hv1\nnothing has been destroyed; `tpl vms` lists what could be\n";
    assert_eq!(found(&["web1", "test", "nope"]), failed(3, refused));
    let elsewhere = |name: &str| {
        format!("{name} has its volumes in pool default, and this command works on pool other: name it with --pool default\n")
    };
    let refused =
        format!("tpl: {}{}nothing has been destroyed; `tpl vms` lists what could be\n", elsewhere("web1"), elsewhere("web2"));
    let other = ["destroy", "--dry-run", "web1", "web2", "--on", "hv1", "--pool", "other"];
    assert_eq!(with(&home, &[], &other), failed(3, &refused));
    let fleet = "tpl: --fleet: a fleet is on one hypervisor\nname one with --on\n";
    assert_eq!(with(&home, &[], &["destroy", "--fleet", "f.toml", "--on", "hv1,hv2"]), failed(2, fleet));
}

#[test]
fn the_default_connection_is_asked_too_unless_it_is_one_of_them() {
    let home = home(&two());
    let asked = |variables: &[(&str, &str)], args: &[&str]| -> Vec<(String, bool)> {
        let ran = with(&home, variables, &[&["list", "--all", "--output", "json"], args].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let one = |answer: &serde_json::Value| {
            let has_templates = !answer["templates"].as_array().unwrap().is_empty();
            (answer["hypervisor"].as_str().unwrap().to_owned(), has_templates)
        };
        json.as_array().unwrap().iter().map(one).collect()
    };
    let (hv1, hv2) = (("hv1".to_owned(), true), ("hv2".to_owned(), false));
    assert_eq!(asked(&[], &[]), [hv1.clone(), hv2.clone()]);
    assert_eq!(asked(&[("TPL_ON", "hv2")], &[]), [hv1.clone(), hv2.clone()]);
    assert_eq!(asked(&[], &["--connect", FULL]), [hv1.clone(), hv2.clone()]);
    let third = "test:///default?x=y";
    assert_eq!(asked(&[("TPL_URI", third)], &[]), [hv1, hv2, (third.to_owned(), false)]);
}
