//! Clones of a template that was built for UEFI have variables of their own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    build::template_id,
    derived::Derived,
    lab::{left, login_key, run, tpl, volume_path},
};

/// OVMF's empty variables, as Debian and Ubuntu have them under one name or the other.
fn empty_variables() -> PathBuf {
    let names = ["/usr/share/OVMF/OVMF_VARS_4M.fd", "/usr/share/OVMF/OVMF_VARS.fd"];
    names.iter().map(PathBuf::from).find(|path| path.exists()).expect("ovmf is not installed: scripts/setup installs it")
}

/// The definition with UEFI in the place of the BIOS.
fn with_uefi(xml: &str, nvram: &Path) -> String {
    let (before, rest) = xml.split_once("<os>").unwrap();
    let (_, after) = rest.split_once("</os>").unwrap();
    let os = "<os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type><firmware><feature enabled='no' name='secure-boot'/></firmware>";
    format!("{before}{os}<nvram>{}</nvram></os>{after}", nvram.display())
}

#[test]
fn each_clone_has_uefi_variables_of_its_own() {
    let key = format!("{}.pub", login_key().display());
    let folder = PathBuf::from(volume_path(&format!("{}-chunks", template_id().replace('@', "."))));
    let nvram = folder.with_file_name("tpl-e2e-uefi.variables");
    let mut variables = fs::read(empty_variables()).unwrap();
    // Behind the variables themselves, where the firmware does not look: tells this file from all others.
    let mark = variables.len() - 8;
    variables[mark..].copy_from_slice(b"tpl-e2e!");
    fs::write(&nvram, &variables).unwrap();
    let template = Derived::new("tpl-e2e-uefi", |_| {}, |xml| with_uefi(&xml, &nvram));

    let wrong = tpl(&["clone", &template.id(), "--firmware", "bios", "--name", "tpl-e2e-efi", "--ssh-key", &key]);
    assert_eq!(wrong.code, 3, "{wrong:#?}");
    assert!(wrong.stderr.contains("was built for uefi, and its boot loader does not start from bios"), "{wrong:#?}");
    let wrong = tpl(&["clone", &template_id(), "--firmware", "uefi", "--name", "tpl-e2e-efi", "--ssh-key", &key]);
    assert_eq!(wrong.code, 3, "{wrong:#?}");

    let call = [
        "clone",
        &template.id(),
        "--firmware",
        "uefi",
        "--name",
        "tpl-e2e-efi{}",
        "--count",
        "2",
        "--ssh-key",
        &key,
        "--wait",
        "none",
    ];
    tpl(&call).ok();
    for name in ["tpl-e2e-efi1", "tpl-e2e-efi2"] {
        let own = volume_path(&format!("{name}-nvram"));
        let xml = run("virsh", &["-q", "-c", "qemu:///system", "dumpxml", "--inactive", name]);
        assert!(xml.contains(&format!(">{own}</nvram>")), "{xml}");
        assert!(!xml.contains(nvram.to_str().unwrap()), "the template's variables are nobody else's: {xml}");
        assert_eq!(fs::read(&own).unwrap()[mark..], *b"tpl-e2e!", "they are a copy of the template's");
        assert_eq!(run("virsh", &["-q", "-c", "qemu:///system", "domstate", name]).trim(), "running");
    }
    assert_eq!(fs::read(&nvram).unwrap(), variables, "nobody has written to the template's");
    tpl(&["destroy", "tpl-e2e-efi1", "tpl-e2e-efi2"]).ok();
    drop(template);
    let _ = fs::remove_file(&nvram);
    assert_eq!(left("tpl-e2e-efi"), Vec::<String>::new());
    assert_eq!(left("tpl-e2e-uefi"), Vec::<String>::new());
}
