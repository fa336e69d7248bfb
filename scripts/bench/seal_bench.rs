//! What `tpl build` does between `installed` and `sealed`, on a disk by itself, for `scripts/bench/seal`: the library's own
//! functions in the order of `cmd::build::seal`, and no libvirt.
//!
//!     seal_bench DISK.qcow2 TEMPLATE.raw [tcg]
//!
//! DISK is written to: give it a copy, or an overlay.

use std::{fs::File, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use tpl::{
    core::{digest::hex, facts::VolumeFormat, progress::Silent},
    host::{
        guest::{Access, Appliance as _, Libguestfs},
        images::{Images as _, LocalImages},
    },
    seal::{self, Layout, Selection},
    ui,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::note(&format!("seal_bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let (disk, template, tcg) = match arguments {
        [disk, template] => (Path::new(disk), Path::new(template), false),
        [disk, template, tcg] if tcg == "tcg" => (Path::new(disk), Path::new(template), true),
        _ => bail!("seal_bench DISK.qcow2 TEMPLATE.raw [tcg] is expected"),
    };
    let guest = Libguestfs { tcg }.open(disk, VolumeFormat::Qcow2, Access::ThrowAway, &Silent)?;
    let layout = Layout::mount(guest.as_ref())?;
    seal::seal(guest.as_ref(), &Selection::new(&[], &[])?, &Silent)?;
    seal::facts(guest.as_ref())?;
    let size = seal::shrink(guest.as_ref(), &layout, &Silent)?.size();
    guest.close()?;
    File::create(template).and_then(|file| file.set_len(size)).with_context(|| format!("making {}", template.display()))?;
    LocalImages.copy(disk, VolumeFormat::Qcow2, template, size)?;
    let chunks = LocalImages.digest(template, size, &Silent)?;
    ui::data(&format!("{size} {}\n", hex(&chunks.content_digest())))
}
