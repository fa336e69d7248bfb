//! `tpl timings`: where the time went.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::{
    cli::{Output, TimingsArgs},
    core::{
        error::Invalid,
        timings::{self, Format, Summary, Timing, parse, summarise},
    },
    ui,
};

/// More than a hundred thousand stages take.
const LARGEST: u64 = 64 << 20;

/// Runs `tpl timings`.
///
/// # Errors
/// The file cannot be read, or holds no timings.
pub fn run(args: &TimingsArgs, output: Output) -> Result<()> {
    let file = args.file.display().to_string();
    let timings = parse(&file, &text(&args.file, &file)?)?;
    let summary = summarise(&timings, args.slowest.into());
    match output {
        Output::Json => ui::json(&summary),
        Output::Text => ui::data(&tables(&summary)),
    }
}

/// Writes how long the stages of a call took, where a file is named for it.
///
/// # Errors
/// The file cannot be written.
pub fn write(file: Option<&Path>, timings: &[Timing]) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let name = file.display().to_string();
    fs::write(file, timings::write(Format::of(&name), timings)).with_context(|| format!("writing {name}"))
}

fn text(path: &Path, file: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let opened = File::open(path).with_context(|| format!("opening {file}"))?;
    opened.take(LARGEST + 1).read_to_end(&mut bytes).with_context(|| format!("reading {file}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Invalid::file(file, "these are no timings: it is larger than 64 MiB").into());
    }
    String::from_utf8(bytes).map_err(|_| Invalid::file(file, "these are no timings: it is no text").into())
}

fn tables(summary: &Summary) -> String {
    if summary.stages.is_empty() {
        return "there are no timings in it\n".to_owned();
    }
    let seconds = |seconds: f64| format!("{seconds:.1}");
    let heading = ["STAGE", "COUNT", "FAILED", "TOTAL", "MEDIAN", "P95", "MAX"];
    let stages = summary.stages.iter().map(|stage| {
        let counts = [stage.stage.clone(), stage.count.to_string(), stage.failed.to_string()];
        counts.into_iter().chain([stage.total, stage.median, stage.p95, stage.max].map(seconds)).collect()
    });
    let mut text = ui::table(&heading, stages);
    if summary.slowest.is_empty() {
        return text;
    }
    let heading = ["SLOWEST", "TEMPLATE", "SECONDS", "LONGEST STAGE", "SECONDS", ""];
    let vms = summary.slowest.iter().map(|vm| {
        let failed = if vm.failed { "failed" } else { "" }.to_owned();
        vec![vm.vm.clone(), vm.template.clone(), seconds(vm.seconds), vm.stage.clone(), seconds(vm.stage_seconds), failed]
    });
    text.push('\n');
    text.push_str(&ui::table(&heading, vms));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables() {
        let text = "vm,template,stage,seconds,outcome,started\n\
                    web1,debian13@20261121-031000,disks,0.25,ok,2026-11-21T03:10:00Z\n\
                    web1,debian13@20261121-031000,wait,40,ok,2026-11-21T03:10:00Z\n\
                    web2,debian13@20261121-031000,disks,0.75,ok,2026-11-21T03:10:00Z\n\
                    web2,debian13@20261121-031000,wait,600,failed,2026-11-21T03:10:00Z\n";
        let expected = "\
STAGE  COUNT  FAILED  TOTAL  MEDIAN  P95    MAX
disks  2      0       1.0    0.5     0.8    0.8
wait   2      1       640.0  320.0   600.0  600.0

SLOWEST  TEMPLATE                  SECONDS  LONGEST STAGE  SECONDS
web2     debian13@20261121-031000  600.8    wait           600.0    failed
web1     debian13@20261121-031000  40.2     wait           40.0
";
        let summary = summarise(&parse("t", text).unwrap(), 10);
        assert_eq!(tables(&summary), expected);
        assert_eq!(tables(&Summary::default()), "there are no timings in it\n");
    }
}
