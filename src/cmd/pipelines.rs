//! Finding and reading pipelines and their answer files.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use include_dir::{Dir, include_dir};
use sha2::{Digest as _, Sha256};

use crate::core::{
    build_plan::template_of,
    check::document::Document,
    config::Config,
    digest::hex,
    error::Invalid,
    names::TemplateName,
    pipeline::{self, Answers, Pipeline, Seal},
};

/// What tpl brings along, so that it works before anybody has written a pipeline: whole folders, so that no file is forgotten.
static BUILT_IN: [Dir<'_>; 4] = [
    include_dir!("$CARGO_MANIFEST_DIR/pipelines"),
    include_dir!("$CARGO_MANIFEST_DIR/preseed"),
    include_dir!("$CARGO_MANIFEST_DIR/autoinstall"),
    include_dir!("$CARGO_MANIFEST_DIR/kickstart"),
];
/// Their names, in the same order.
const FOLDERS: [&str; 4] = ["pipelines", "preseed", "autoinstall", "kickstart"];

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

/// A pipeline's file, found.
pub struct Found {
    /// The template that it makes.
    pub name: TemplateName,
    /// As errors name it.
    pub file: String,
    /// Its text.
    pub text: String,
    root: Root,
}

/// Finds a pipeline by its name or path, and reads it with its answer file.
///
/// # Errors
/// [`Invalid`]: there is none of this name, or something is wrong in it.
pub fn load(wanted: &str, config: &Config) -> Result<Loaded> {
    find(wanted, config)?.load()
}

impl Found {
    /// Reads it, with its answer file.
    ///
    /// # Errors
    /// [`Invalid`]: everything that is wrong in the pipeline.
    pub fn load(self) -> Result<Loaded> {
        let mut answers = Ok(None);
        let pipeline = pipeline::parse_with(&self.file, &self.text, |document| {
            seal_faults(document);
            let Some(wanted) = document.part::<Answers>("answers") else { return };
            answers = self.root.answer_file(wanted.file.as_path());
            if let Ok(None) = answers {
                document.add("answers.file", format!("the answer file {} does not exist", wanted.file.as_path().display()));
            }
        })?;
        Ok(Loaded { name: self.name, digest: hex(&Sha256::digest(&self.text)), answers: answers?, pipeline })
    }

    /// Whether it is one of those that tpl brings along.
    pub fn is_built_in(&self) -> bool {
        matches!(self.root, Root::BuiltIn)
    }
}

impl Root {
    /// The answer file at a path below it; none where there is none.
    fn answer_file(&self, below: &Path) -> Result<Option<AnswerFile>> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(below);
                Ok(read(&path)?.map(|text| AnswerFile { path: path.display().to_string(), text }))
            }
            Self::BuiltIn => {
                let path = below.display().to_string();
                Ok(built_in(&path).map(|text| AnswerFile { path, text: text.to_owned() }))
            }
        }
    }
}

/// A file that tpl brings along, by its path: `pipelines/NAME.toml`.
fn built_in(path: &str) -> Option<&'static str> {
    let (folder, file) = path.split_once('/')?;
    let (_, dir) = FOLDERS.iter().zip(&BUILT_IN).find(|(name, _)| **name == folder)?;
    dir.get_file(file)?.contents_utf8()
}

/// The names of the pipelines that tpl brings along, sorted.
fn built_in_names() -> BTreeSet<String> {
    BUILT_IN[0].files().filter_map(|file| Some(file.path().to_str()?.strip_suffix(".toml")?.to_owned())).collect()
}

/// The names of all pipelines that would be found by name, sorted.
///
/// # Errors
/// A folder of pipelines cannot be read.
pub fn names(config: &Config) -> Result<Vec<String>> {
    let mut names = built_in_names();
    for folder in folders(config) {
        let reading = || format!("reading {}", folder.display());
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(reading),
        };
        for entry in entries {
            let name = entry.with_context(reading)?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(".toml")).map(str::to_owned));
        }
    }
    Ok(names.into_iter().collect())
}

/// Notes seal operations that there are none of.
fn seal_faults(document: &mut Document<'_>) {
    let Some(seal) = document.part::<Seal>("seal") else { return };
    for (key, list) in [("enable", &seal.enable), ("disable", &seal.disable)] {
        for (index, name) in list.iter().enumerate() {
            let one = std::slice::from_ref(name);
            // An operation that is in both lists is said once.
            let both = if key == "disable" { seal.enable.as_slice() } else { &[] };
            let both: Vec<String> = both.iter().filter(|other| *other == name).cloned().collect();
            if let Err(invalid) = crate::seal::Selection::new(&both, one) {
                let messages: BTreeSet<String> = invalid.findings.into_iter().map(|finding| finding.message).collect();
                document.add(&format!("seal.{key}.{index}"), messages.into_iter().collect::<Vec<_>>().join("; "));
            }
        }
    }
}

/// Finds a pipeline by its name or path.
///
/// # Errors
/// [`Invalid`]: there is none of this name, or it is no text.
pub fn find(wanted: &str, config: &Config) -> Result<Found> {
    let name = template_of(wanted)?;
    if wanted.contains('/') || wanted.ends_with(".toml") {
        let path = Path::new(wanted);
        let text = read(path)?.ok_or_else(|| Invalid::file(wanted, "there is no such file"))?;
        return Ok(Found { name, file: wanted.to_owned(), text, root: Root::Folder(root_of(path)) });
    }
    let mut looked = Vec::new();
    for folder in folders(config) {
        let path = folder.join(format!("{name}.toml"));
        let shown = path.display().to_string();
        if let Some(text) = read(&path)? {
            return Ok(Found { name, file: shown, text, root: Root::Folder(root_of(&path)) });
        }
        looked.push(shown);
    }
    let file = format!("pipelines/{name}.toml");
    match built_in(&file) {
        Some(text) => Ok(Found { name, file: format!("{file} (built in)"), text: text.to_owned(), root: Root::BuiltIn }),
        None => {
            let there = built_in_names().into_iter().collect::<Vec<_>>().join(", ");
            let message = format!("there is no pipeline {name}: looked for {}; built in: {there}", looked.join(", "));
            Err(Invalid::argument(message).into())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pipeline_and_answer_file_is_built_in() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in FOLDERS {
            let files: Vec<_> = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(!files.is_empty(), "{folder}");
            for file in files {
                let path = format!("{folder}/{}", file.file_name().unwrap().to_str().unwrap());
                // `cargo clean -p tpl` where this fails after a file came or went: cargo does not look into folders.
                assert_eq!(built_in(&path), Some(fs::read_to_string(&file).unwrap().as_str()), "{path}");
            }
        }
        let known: usize = BUILT_IN.iter().map(|folder| folder.files().count() + folder.dirs().count()).sum();
        assert_eq!(known, FOLDERS.iter().map(|folder| fs::read_dir(root.join(folder)).unwrap().count()).sum::<usize>());
        assert_eq!([built_in("pipelines/../Cargo.toml"), built_in("fnord/x"), built_in("x")], [None; 3]);
    }
}
