//! A look at the sealed volume from outside tpl, with guestfish.

use super::{
    build::{template, template_id},
    lab::{TEMPLATE, run, tpl, volume_path},
};

fn volume() -> String {
    let name = format!("{TEMPLATE}.{}", template()["version"].as_str().unwrap());
    volume_path(&name)
}

#[test]
fn nothing_of_the_installation_is_in_the_sealed_volume() {
    let volume = volume();
    // Each line prints what should not be there; `-` lets guestfish go on where there is no such folder.
    let found = guestfish(
        &volume,
        "glob-expand /etc/ssh/ssh_host_*\n\
         echo machine-id\nfilesize /etc/machine-id\n\
         glob-expand /var/lib/dhcp/*.lease*\nglob-expand /var/lib/dhcpcd/*\nglob-expand /var/lib/systemd/network/*\n\
         glob-expand /var/log/installer/*\nglob-expand /var/lib/cloud/*\nglob-expand /root/.bash_history\n\
         glob-expand /var/lib/systemd/random-seed\n\
         echo shadow\ncat /etc/shadow\n-cat /etc/shadow-\n",
    );
    let (before, shadow) = found.split_once("shadow\n").unwrap();
    assert_eq!(before, "machine-id\n0\n");
    assert!(shadow.contains("root:"), "{shadow}");
    let hashes: Vec<_> = shadow.lines().filter(|line| line.split(':').nth(1).is_some_and(|field| field.contains('$'))).collect();
    assert_eq!(hashes, Vec::<&str>::new());
}

fn guestfish(volume: &str, script: &str) -> String {
    use std::{io::Write as _, process::Stdio};
    let mut child = std::process::Command::new("guestfish")
        .args(["--ro", "--format=raw", "-a", volume, "-i"])
        .env("LIBGUESTFS_BACKEND", "direct")
        .env("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_volume_is_protected_small_and_as_it_was_published() {
    let volume = volume();
    assert_eq!(run("stat", &["-c", "%a", &volume]).trim(), "444");
    let size: u64 = run("stat", &["-c", "%s", &volume]).trim().parse().unwrap();
    let allocated: u64 = run("stat", &["-c", "%b", &volume]).trim().parse::<u64>().unwrap() * 512;
    assert_eq!(size, template()["virtual_size"].as_u64().unwrap());
    assert!(allocated <= size && size * 4 <= allocated * 5 + (1 << 30), "{allocated} of {size} bytes are allocated");
    let verified = tpl(&["verify", &template_id(), "--output", "json"]).json();
    assert_eq!((&verified["holds"], &verified["digest"]), (&serde_json::Value::Bool(true), &template()["digest"]));
}
