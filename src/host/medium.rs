//! An installer's medium, as a file on this machine.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::core::{
    error::Refusal,
    iso9660::{Bytes, Extent},
    medium::{self, Installer, Unfit, installer_of},
    pipeline::{AnswersKind, MediumPath},
    source::Arch,
};

/// A medium, open for reading.
#[derive(Debug)]
pub struct Medium {
    file: File,
    length: u64,
}

impl Bytes for Medium {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// The bytes of a file on a medium.
#[derive(Debug)]
pub struct Content<'a> {
    medium: &'a Medium,
    /// What is left of it, the last stretch first.
    extents: Vec<Extent>,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(extent) = self.extents.last_mut() else { return Ok(0) };
            if extent.length == 0 {
                self.extents.pop();
                continue;
            }
            let most = usize::try_from(extent.length).unwrap_or(usize::MAX).min(buffer.len());
            let read = self.medium.file.read_at(&mut buffer[..most], extent.offset)?;
            extent.offset += read as u64;
            extent.length -= read as u64;
            // Nothing, where there should be more, is an end that the reader's count of bytes finds out.
            return Ok(read);
        }
    }
}

impl Medium {
    /// Opens a medium.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok::<_, io::Error>(Self { file, length })
        };
        open().with_context(|| format!("opening {}", path.display()))
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// All of its bytes.
    pub fn content(&self) -> Content<'_> {
        Content { medium: self, extents: vec![Extent { offset: 0, length: self.length }] }
    }

    /// The bytes of a file on it.
    pub fn file(&self, file: &medium::File) -> Content<'_> {
        Content { medium: self, extents: file.extents.iter().rev().copied().collect() }
    }

    /// Looks for an installer that reads such answers. `name` is what the medium is called in errors.
    ///
    /// # Errors
    /// [`Refusal`]: it is none, another family's, or holds no kernel.
    pub fn installer(
        &self,
        name: &str,
        kind: AnswersKind,
        arch: Arch,
        paths: (Option<&MediumPath>, Option<&MediumPath>),
    ) -> Result<Installer> {
        medium::find(self, kind, arch, paths).map_err(|unfit| {
            let text = format!("{name} cannot be installed from: {unfit}");
            match unfit {
                Unfit::Fault(_) => Refusal::new(text).advise("another medium may be whole: --iso names one").into(),
                Unfit::OtherFamily(_) => {
                    Refusal::new(format!("{text}, and the pipeline's answers are for {}", installer_of(kind)))
                        .advise("--iso, or source.url in the pipeline, must name a medium of the answers' family")
                        .into()
                }
                Unfit::NoKernel | Unfit::Missing(..) | Unfit::NotOne(..) => Refusal::new(text)
                    .advise("source.kernel and source.initrd in the pipeline say where on the medium they are")
                    .into(),
            }
        })
    }
}
