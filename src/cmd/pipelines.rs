//! Finding and reading pipelines and their answer files.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::core::{
    build_plan::template_of,
    config::Config,
    digest::hex,
    error::Invalid,
    names::TemplateName,
    pipeline::{self, Pipeline},
};

/// What tpl brings along, so that it works before anybody has written a pipeline.
const BUILT_IN: [(&str, &str); 2] = [
    ("pipelines/debian13.toml", include_str!("../../pipelines/debian13.toml")),
    ("preseed/debian.cfg", include_str!("../../preseed/debian.cfg")),
];

/// No pipeline or answer file is near this size; something else would be read whole into memory.
const LARGEST: u64 = 1 << 20;

/// A pipeline and its answer file, read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The template that it makes.
    pub name: TemplateName,
    /// The pipeline.
    pub pipeline: Pipeline,
    /// SHA-256 of its text.
    pub digest: String,
    /// The answer file, where an installer needs one.
    pub answers: Option<AnswerFile>,
}

/// An answer file, read.
#[derive(Debug, Clone)]
pub struct AnswerFile {
    /// As errors name it.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// The folder that holds `pipelines/` and the answer files, or what is built in.
enum Root {
    Folder(PathBuf),
    BuiltIn,
}

/// Finds a pipeline by its name or path, and reads it with its answer file.
///
/// # Errors
/// [`Invalid`]: there is none of this name, or something is wrong in it.
pub fn load(wanted: &str, config: &Config) -> Result<Loaded> {
    let name = template_of(wanted)?;
    let (root, file, text) = find(wanted, &name, config)?;
    let pipeline = pipeline::parse(&file, &text)?;
    crate::seal::Selection::new(&pipeline.seal.enable, &pipeline.seal.disable)
        .map_err(|invalid| invalid_in(&file, &text, &invalid))?;
    let answers =
        pipeline.answers.as_ref().map(|answers| answer_file(&root, answers.file.as_path(), (&file, &text))).transpose()?;
    let digest = hex(&Sha256::digest(&text));
    Ok(Loaded { name, pipeline, digest, answers })
}

fn answer_file(root: &Root, answers_path: &Path, (file, text): (&str, &str)) -> Result<AnswerFile> {
    let missing = || {
        let what = format!("the answer file {} does not exist", answers_path.display());
        crate::core::toml_text::invalid_at_key(file, text, "answers.file", &what)
    };
    Ok(match root {
        Root::Folder(folder) => {
            let path = folder.join(answers_path);
            let text = read(&path)?.ok_or_else(missing)?;
            AnswerFile { path: path.display().to_string(), text }
        }
        Root::BuiltIn => {
            let (path, text) = BUILT_IN.iter().find(|(file, _)| Path::new(file) == answers_path).ok_or_else(missing)?;
            AnswerFile { path: (*path).to_owned(), text: (*text).to_owned() }
        }
    })
}

/// A finding about a seal operation, at its line in the pipeline.
fn invalid_in(file: &str, text: &str, invalid: &Invalid) -> Invalid {
    let messages: Vec<_> = invalid.findings.iter().map(|finding| finding.message.as_str()).collect();
    let key = if text.lines().any(|line| line.trim_start().starts_with("enable")) { "seal.enable" } else { "seal.disable" };
    crate::core::toml_text::invalid_at_key(file, text, key, &messages.join("; "))
}

fn find(wanted: &str, name: &TemplateName, config: &Config) -> Result<(Root, String, String)> {
    if wanted.contains('/') || wanted.ends_with(".toml") {
        let path = Path::new(wanted);
        let text = read(path)?.ok_or_else(|| Invalid::file(wanted, "there is no such file"))?;
        return Ok((Root::Folder(root_of(path)), wanted.to_owned(), text));
    }
    let mut looked = Vec::new();
    for folder in folders(config) {
        let path = folder.join(format!("{name}.toml"));
        let shown = path.display().to_string();
        if let Some(text) = read(&path)? {
            return Ok((Root::Folder(root_of(&path)), shown, text));
        }
        looked.push(shown);
    }
    let file = format!("pipelines/{name}.toml");
    match BUILT_IN.iter().find(|(built_in, _)| *built_in == file) {
        Some((_, text)) => Ok((Root::BuiltIn, format!("{file} (built in)"), (*text).to_owned())),
        None => {
            Err(Invalid::argument(format!("there is no pipeline {name}: looked for {}; built in: debian13", looked.join(", ")))
                .into())
        }
    }
}

/// Where pipelines are looked for by name.
fn folders(config: &Config) -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("pipelines")];
    folders.extend(config.pipelines.clone());
    folders.extend(std::env::home_dir().map(|home| home.join(".config/tpl/pipelines")));
    folders.push(PathBuf::from("/etc/tpl/pipelines"));
    folders
}

/// The folder above the pipeline's own: answer files are named from there.
fn root_of(pipeline: &Path) -> PathBuf {
    let parent = pipeline.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new("."));
    // The parent of `pipelines` is the empty path, which means here; that of `.` has to be asked for.
    match folder.file_name() {
        Some(_) => folder.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf),
        None => folder.join(".."),
    }
}

/// A text file; none if it is not there.
pub(super) fn read(path: &Path) -> Result<Option<String>> {
    let data = match fs::metadata(path) {
        Ok(data) => data,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let shown = path.display().to_string();
    if !data.is_file() || data.len() > LARGEST {
        return Err(Invalid::file(&shown, "this is no text file of at most 1 MiB").into());
    }
    let bytes = fs::read(path).with_context(|| format!("reading {shown}"))?;
    let text = String::from_utf8(bytes).map_err(|_| Invalid::file(&shown, "this is no UTF-8 text"))?;
    Ok(Some(text))
}
