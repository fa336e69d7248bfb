//! Streams with holes. The `virt` crate does not wrap these calls.
#![expect(unsafe_code, reason = "the functions for holes in streams are not wrapped by the virt crate")]

use std::ffi::c_char;

use anyhow::{Context as _, Result};
use virt::{connect::Connect, error::Error, storage_vol::StorageVol, stream::Stream, sys};

use super::plain;
use crate::core::error::Cut;

/// A stream that is broken off unless it came to its end.
pub struct Flow<'a> {
    connect: &'a Connect,
    stream: Option<Stream>,
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes.
    Data(usize),
    /// A hole of so many bytes.
    Hole(u64),
    /// Nothing more.
    End,
}

impl<'a> Flow<'a> {
    /// Begins to upload into a volume, from `at` on. With `sparse`, holes may be sent; libvirt cuts a file off at a hole, so
    /// that is for new volumes alone.
    ///
    /// # Errors
    /// libvirt refuses.
    pub fn up(connect: &'a Connect, volume: &StorageVol, at: u64, sparse: bool) -> Result<Self> {
        let flags = if sparse { sys::VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM } else { 0 };
        let flow = Self::new(connect)?;
        let stream = flow.stream.as_ref().context("the stream is gone")?;
        volume.upload(stream, at, 0, flags).map_err(|error| flow.failed(error))?;
        Ok(flow)
    }

    /// Begins to download `length` bytes of a volume, from `at` on, with holes.
    ///
    /// # Errors
    /// libvirt refuses.
    pub fn down(connect: &'a Connect, volume: &StorageVol, at: u64, length: u64) -> Result<Self> {
        let flow = Self::new(connect)?;
        let stream = flow.stream.as_ref().context("the stream is gone")?;
        let flags = sys::VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM;
        volume.download(stream, at, length, flags).map_err(|error| flow.failed(error))?;
        Ok(flow)
    }

    fn new(connect: &'a Connect) -> Result<Self> {
        Ok(Self { connect, stream: Some(Stream::new(connect, 0).map_err(plain)?) })
    }

    fn failed(&self, error: Error) -> anyhow::Error {
        failed(self.connect, error)
    }

    fn stream(&self) -> Result<&Stream> {
        self.stream.as_ref().context("the stream is gone")
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// [`Cut`] where the connection broke; else what libvirt says.
    pub fn send(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let part = &bytes[..bytes.len().min(super::storage::CHUNK)];
            let sent = self.stream()?.send(part).map_err(|error| self.failed(error))?;
            let sent = usize::try_from(sent).map_err(|_| Cut::new("the stream ended early"))?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// Sends a hole.
    ///
    /// # Errors
    /// As for [`Self::send`].
    pub fn send_hole(&self, length: u64) -> Result<()> {
        let length = i64::try_from(length)?;
        // SAFETY: the stream is open, and lives through the call.
        let sent = unsafe { sys::virStreamSendHole(self.stream()?.as_ptr(), length, 0) };
        if sent < 0 { Err(self.failed(Error::last_error())) } else { Ok(()) }
    }

    /// Receives the next bytes or the next hole.
    ///
    /// # Errors
    /// As for [`Self::send`].
    pub fn receive(&self, buffer: &mut [u8]) -> Result<Received> {
        // What the call returns where a hole is next.
        const AT_HOLE: i32 = -3;
        let stream = self.stream()?;
        let flags = sys::VIR_STREAM_RECV_STOP_AT_HOLE;
        // SAFETY: the stream is open, and the buffer has room for as many bytes as are asked for.
        let received =
            unsafe { sys::virStreamRecvFlags(stream.as_ptr(), buffer.as_mut_ptr().cast::<c_char>(), buffer.len(), flags) };
        match received {
            0 => Ok(Received::End),
            AT_HOLE => {
                let mut length = 0_i64;
                // SAFETY: the stream is open; the length is written to before the call returns without an error.
                let found = unsafe { sys::virStreamRecvHole(stream.as_ptr(), &raw mut length, 0) };
                if found < 0 {
                    return Err(self.failed(Error::last_error()));
                }
                Ok(Received::Hole(u64::try_from(length)?))
            }
            count => usize::try_from(count).map(Received::Data).map_err(|_| self.failed(Error::last_error())),
        }
    }

    /// Waits until the other side has all of it.
    ///
    /// # Errors
    /// As for [`Self::send`].
    pub fn finish(mut self) -> Result<()> {
        let stream = self.stream.take().context("the stream is gone")?;
        stream.finish().map_err(|error| self.failed(error))
    }
}

impl Drop for Flow<'_> {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            // Whatever has made it end early is the error that is told.
            let _ = stream.abort();
        }
    }
}

/// The error of a call, as a broken connection where it is one.
pub fn failed(connect: &Connect, error: Error) -> anyhow::Error {
    match connect.is_alive() {
        Ok(true) => plain(error),
        _ => Cut::new(error.message().to_owned()).into(),
    }
}
