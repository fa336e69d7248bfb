//! Against libvirt's test driver: <https://libvirt.org/drvtest.html>.

use super::program::{Home, failed, printed};

const EMPTY: [&str; 4] = ["--connect", "test:///default", "--pool", "default-pool"];

/// A hypervisor with a template, two clones of it and a domain that is not tpl's.
fn filled() -> [String; 2] {
    ["--connect".to_owned(), format!("test://{}/tests/fixtures/test-driver.xml", env!("CARGO_MANIFEST_DIR"))]
}

fn on_filled(home: &Home, args: &[&str]) -> super::program::Ran {
    let connect = filled();
    let all: Vec<&str> = connect.iter().map(String::as_str).chain(args.iter().copied()).collect();
    home.tpl(&all)
}

#[test]
fn an_empty_hypervisor_says_what_to_do() {
    let home = Home::new();
    let on_empty = |args: &[&str]| home.tpl(&[&EMPTY, args].concat());
    assert_eq!(on_empty(&["list"]), printed("there are no templates yet: `tpl build debian13` makes one\n"));
    assert_eq!(on_empty(&["vms"]), printed("there are no VMs of tpl's: `tpl clone` makes some\n"));
    // The logs in this machine's folder are not this hypervisor's.
    assert_eq!(on_empty(&["prune", "--dry-run"]), printed("nothing to prune\n"));
    assert_eq!(on_empty(&["list", "--output", "json"]), printed("[]\n"));
    assert_eq!(on_empty(&["vms", "--output", "json"]), printed("[]\n"));
    let none = "tpl: there is no published template\n`tpl build debian13` makes one\n";
    assert_eq!(on_empty(&["clone", "--dry-run"]), failed(3, none));
    let unknown = "tpl: there is no template nope\nthere are no templates yet: `tpl build debian13` makes one\n";
    for command in ["show", "verify", "clone"] {
        let dry = if command == "clone" { &["--dry-run"][..] } else { &[] };
        assert_eq!(on_empty(&[&[command, "nope"], dry].concat()), failed(3, unknown), "{command}");
    }
    let absent = "tpl: pool none does not exist\n`tpl doctor` says how to make one\n";
    assert_eq!(home.tpl(&["--connect", "test:///default", "--pool", "none", "clone", "--dry-run"]), failed(1, absent));
}

#[test]
fn templates_and_vms_are_listed() {
    let home = Home::new();
    let list = "NAME      VERSION          STATE      CURRENT  SIZE     ALLOCATED  CLONES  DIGEST\n\
                debian13  20261121-031000  published  yes      967 MiB  638 MiB    2       0123456789ab\n";
    assert_eq!(on_filled(&home, &["list"]), printed(list));
    let vms = "NAME  TEMPLATE                  STATE    ADDRESS\n\
               web1  debian13@20261121-031000  running  192.0.2.2\n\
               web2  debian13@20261121-031000  shutoff  -\n";
    assert_eq!(on_filled(&home, &["vms"]), printed(vms));
    let list = r#"[
  {
    "name": "debian13",
    "version": "20261121-031000",
    "state": "published",
    "current": true,
    "digest": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "virtual_size": 1013972992,
    "allocation": 668991488,
    "created_at": "2026-11-21T03:10:00Z",
    "clones": 2
  }
]
"#;
    assert_eq!(on_filled(&home, &["list", "--output", "json"]), printed(list));
    let vm = |name: &str, digit: u8, state: &str, addresses: &str| {
        format!(
            "  {{\n    \"name\": \"{name}\",\n    \"uuid\": \"{digit}0000000-0000-4000-8000-000000000000\",\n    \"template\": \"debian13\",\n    \
             \"version\": \"20261121-031000\",\n    \"state\": \"{state}\",\n    \"addresses\": {addresses},\n    \"phoned_home\": null,\n    \"room\": null\n  }}"
        )
    };
    let vms =
        format!("[\n{},\n{}\n]\n", vm("web1", 2, "running", "[\n      \"192.0.2.2\"\n    ]"), vm("web2", 3, "shutoff", "[]"));
    assert_eq!(on_filled(&home, &["vms", "--output", "json"]), printed(&vms));
}

#[test]
fn a_manifest_is_shown() {
    let text = "debian13@20261121-031000
  state      published
  created    2026-11-21T03:10:00Z
  promoted   2026-11-21T03:30:00Z
  digest     0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  size       967 MiB
  system     Debian GNU/Linux 13 (trixie)
  packages   1
  identity   nocloud
  clones get 1 vCPUs, 512 MiB memory, 8 GiB disk, user debian
  origin     signed by A1B2
  signature  none
  source     http://mirror.example/debian/linux sha256 cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
  invariants machine-id, logs
  stage      install 690.2 s
  tool       tpl 0.1.0
";
    let home = Home::new();
    for reference in ["debian13", "debian13@20261121-031000"] {
        assert_eq!(on_filled(&home, &["show", reference]), printed(text));
    }
    let ran = on_filled(&home, &["show", "debian13", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["state"], "published");
    assert_eq!(json["volumes"], serde_json::json!(["debian13.20261121-031000", "debian13.20261121-031000-chunks"]));
    let missing = "tpl: there is no template debian13@20261121-031001\nthere are: debian13@20261121-031000 (published)\n";
    assert_eq!(on_filled(&home, &["show", "debian13@20261121-031001"]), failed(3, missing));
}

#[test]
fn a_clones_plan_takes_free_names_and_addresses() {
    let home = Home::new();
    let ran = on_filled(&home, &["clone", "--dry-run", "--count", "2", "--name", "web{}", "--output", "json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let planned = |name: &str, address: &str| {
        serde_json::json!({
            "name": name,
            "template": "debian13@20261121-031000",
            "vcpus": 1,
            "memory": 512 << 20,
            "disk": 8_u64 << 30,
            "linked": true,
            "room": null,
            "macs": [mac(name)],
            "address": address,
            "network": "default",
            "volumes": [name, format!("{name}-seed")],
            "seed": "volume",
        })
    };
    // Behind the network's dynamic range.
    let clones = [planned("web3", "192.0.2.128"), planned("web4", "192.0.2.129")];
    let expected = serde_json::json!({ "dry_run": true, "clones": clones });
    assert_eq!(json, expected);
    let text = format!(
        "1 VM\n  debian13-1  linked clone of debian13@20261121-031000: 1 vCPU, 512 MiB memory, 8 GiB disk, user debian\n    \
         network default, 192.0.2.128 (reserved), {}\n",
        mac("debian13-1")
    );
    assert_eq!(on_filled(&home, &["clone", "--dry-run"]), printed(&text));
}

/// The address that follows from a name.
fn mac(name: &str) -> String {
    tpl::core::mac::Mac::free_of_name(name, 0, &|_| false).unwrap().to_string()
}

#[test]
fn what_does_not_fit_is_refused_with_every_reason() {
    let home = Home::new();
    let ran = on_filled(&home, &["clone", "--dry-run", "--count", "9", "--full", "--memory", "1G"]);
    let text = "tpl: memory: 9 × 1 GiB is 9 GiB and 1.5 GiB of 2.7 GiB (90 % of 3 GiB) are pledged; 1 would fit\n\
                ask for fewer or smaller clones, or remove some with `tpl destroy`\n";
    assert_eq!(ran, failed(3, text));
    let text = "tpl: 'mail' is taken: there is a domain of this name\nchoose another name, or a pattern as in web{:02}\n";
    assert_eq!(on_filled(&home, &["clone", "--dry-run", "--name", "mail"]), failed(3, text));
    let text = "tpl: a disk of 512 MiB cannot hold template debian13@20261121-031000, which has 967 MiB: a clone's disk grows, never shrinks\n";
    assert_eq!(on_filled(&home, &["clone", "--dry-run", "--disk", "512M"]), failed(2, text));
}

#[test]
fn pledges_are_shown_on_every_axis() {
    let home = Home::new();
    // The template pledges its disk alone; the VMs pledge all that they may come to take, though only one runs.
    let text = "AXIS    TOTAL    PLEDGED   CAP      FREE\n\
                vCPUs   16       3         14       11\n\
                memory  3 GiB    1.5 GiB   2.7 GiB  1.2 GiB\n\
                pool    100 GiB  16.9 GiB  90 GiB   73.1 GiB\n\
                pool default; 4 domains, 1 template among them, pledging disk only; the cap is 90 % of the total\n";
    assert_eq!(on_filled(&home, &["capacity"]), printed(text));
    let ran = on_filled(&home, &["capacity", "--output", "json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let (gib, volumes) = (1u64 << 30, 1_013_972_992 + 31_000 + 2 * (8u64 << 30));
    let axis = |axis: &str, unit: &str, total: u64, pledged: u64| {
        let cap = total * 9 / 10;
        serde_json::json!({"axis": axis, "unit": unit, "total": total, "pledged": pledged, "cap": cap, "free": cap - pledged})
    };
    let expected = serde_json::json!({
        "hypervisor": filled()[1],
        "pool": "default",
        "axes": [
            axis("cpu", "vcpus", 16, 3),
            axis("memory", "bytes", 3 * gib, 3 * gib / 2),
            axis("pool", "bytes", 100 * gib, volumes),
        ],
        "domains": 4,
        "templates": 1,
        "policy": {"cpu_overcommit": 1.0, "cap": 90},
    });
    assert_eq!(json, expected);
    let text = "AXIS    TOTAL    PLEDGED  CAP      FREE\n\
                vCPUs   16       2        14       12\n\
                memory  3 GiB    8 GiB    2.7 GiB  0 B\n\
                pool    100 GiB  0 B      90 GiB   90 GiB\n\
                pool default-pool; 1 domain; the cap is 90 % of the total\n";
    assert_eq!(home.tpl(&[&EMPTY, &["capacity"][..]].concat()), printed(text));
}

#[test]
fn what_is_in_use_or_foreign_is_left_alone() {
    let home = Home::new();
    let version = "debian13@20261121-031000";
    let text = format!("tpl: linked clones stand on {version}: web1\n`tpl destroy web1` removes them first\n");
    assert_eq!(on_filled(&home, &["rm", version]), failed(3, &text));
    let text = "tpl: mail does not carry tpl's metadata: tpl has not made it, and leaves it alone\n\
                nothing has been destroyed; `tpl vms` lists what could be\n";
    assert_eq!(on_filled(&home, &["destroy", "web1", "mail"]), failed(3, text));
    assert_eq!(
        on_filled(&home, &["destroy", "web1", "web2", "--dry-run"]),
        printed("web1 would be destroyed\nweb2 would be destroyed\n")
    );
    assert_eq!(on_filled(&home, &["destroy", "web2"]), printed("web2 destroyed\n"));
    assert_eq!(on_filled(&home, &["promote", version]), printed(&format!("unchanged: {version} is the current version\n")));
    assert_eq!(on_filled(&home, &["prune", "--dry-run"]), printed("nothing to prune\n"));
}
