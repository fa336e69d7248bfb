//! What the `guestfs` crate leaves out and tpl needs: the real text of an error, silence on standard error, progress.

#![expect(unsafe_code, reason = "five C functions that the crate does not declare")]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr, slice,
    sync::{Mutex, PoisonError},
};

use guestfs::Handle;

use crate::core::progress::Progress;

type EventCallback = extern "C" fn(*mut c_void, *mut c_void, u64, c_int, c_int, *const c_char, usize, *const u64, usize);

// Values of GUESTFS_EVENT_* in guestfs.h.
const PROGRESS: u64 = 0x0008;
const APPLIANCE: u64 = 0x0010;
const LIBRARY: u64 = 0x0020;
const TRACE: u64 = 0x0040;
const WARNING: u64 = 0x0200;

/// What is kept of the appliance's output: enough for a kernel's or QEMU's last words.
const LOG_TAIL: usize = 2000;

#[link(name = "guestfs")]
unsafe extern "C" {
    fn guestfs_last_error(handle: *mut c_void) -> *const c_char;
    fn guestfs_last_errno(handle: *mut c_void) -> c_int;
    fn guestfs_set_error_handler(handle: *mut c_void, callback: *const c_void, data: *mut c_void);
    fn guestfs_set_event_callback(
        handle: *mut c_void,
        callback: EventCallback,
        events: u64,
        flags: c_int,
        opaque: *mut c_void,
    ) -> c_int;
    fn guestfs_delete_event_callback(handle: *mut c_void, event: c_int);
}

/// The C handle inside the crate's, which keeps it to itself.
fn raw(handle: &Handle) -> *mut c_void {
    // A struct that is as large as a pointer and holds one has it at its start; another release of the crate may not.
    const { assert!(size_of::<Handle>() == size_of::<*mut c_void>()) };
    // SAFETY: `Handle` is a struct of one field, the C handle; the size, checked above, leaves room for nothing else.
    unsafe { ptr::from_ref(handle).cast::<*mut c_void>().read() }
}

/// The text and the errno of the last error, whatever bytes are in it; the crate keeps its copy private.
pub(super) fn last_error(handle: &Handle) -> (String, i32) {
    // SAFETY: the handle is alive; the text stays valid until the next call on it, and is copied before that.
    unsafe {
        let text = guestfs_last_error(raw(handle));
        let text = if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() };
        (text, guestfs_last_errno(raw(handle)))
    }
}

/// What the library and the appliance say, kept instead of printed.
pub(super) struct Log(Mutex<Vec<u8>>);

impl Log {
    /// Keeps libguestfs from writing to standard error, for the handle's whole life. The log must outlive the handle.
    pub(super) fn attach(handle: &Handle) -> Box<Self> {
        let log = Box::new(Self(Mutex::new(Vec::new())));
        let opaque = ptr::from_ref(&*log).cast_mut().cast();
        // SAFETY: no handler is a valid handler; the callback takes the log by shared reference, and the box that it
        // lives in does not move its content.
        unsafe {
            guestfs_set_error_handler(raw(handle), ptr::null(), ptr::null_mut());
            guestfs_set_event_callback(raw(handle), keep, APPLIANCE | LIBRARY | TRACE | WARNING, 0, opaque);
        }
        log
    }

    /// The last of it.
    pub(super) fn tail(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

extern "C" fn keep(
    _: *mut c_void,
    opaque: *mut c_void,
    _: u64,
    _: c_int,
    _: c_int,
    text: *const c_char,
    length: usize,
    _: *const u64,
    _: usize,
) {
    if text.is_null() {
        return;
    }
    // SAFETY: `opaque` is the log that `attach` registered, alive as long as the handle; `text` has `length` bytes.
    let (log, text) = unsafe { (&*opaque.cast::<Log>(), slice::from_raw_parts(text.cast::<u8>(), length)) };
    let mut bytes = log.0.lock().unwrap_or_else(PoisonError::into_inner);
    bytes.extend_from_slice(&text[length.saturating_sub(LOG_TAIL)..]);
    let surplus = bytes.len().saturating_sub(LOG_TAIL);
    bytes.drain(..surplus);
}

/// Does `work` while `progress` hears of it as `step`.
pub(super) fn with_progress<T>(handle: &Handle, step: &'static str, progress: &dyn Progress, work: impl FnOnce() -> T) -> T {
    struct Unregister<'a>(&'a Handle, c_int);
    impl Drop for Unregister<'_> {
        fn drop(&mut self) {
            if self.1 >= 0 {
                // SAFETY: the handle is alive, and the number is one that it gave.
                unsafe { guestfs_delete_event_callback(raw(self.0), self.1) }
            }
        }
    }
    let listener = Listener { step, progress };
    let opaque = ptr::from_ref(&listener).cast_mut().cast();
    // SAFETY: the callback only runs during `work`: it is deleted, by the guard, before the listener goes.
    let event = unsafe { guestfs_set_event_callback(raw(handle), report, PROGRESS, 0, opaque) };
    let _guard = Unregister(handle, event);
    work()
}

struct Listener<'a> {
    step: &'static str,
    progress: &'a dyn Progress,
}

extern "C" fn report(
    _: *mut c_void,
    opaque: *mut c_void,
    _: u64,
    _: c_int,
    _: c_int,
    _: *const c_char,
    _: usize,
    numbers: *const u64,
    count: usize,
) {
    if numbers.is_null() || count < 4 {
        return;
    }
    // SAFETY: `opaque` is the listener that `with_progress` registered; `numbers` has `count` elements.
    let (listener, numbers) = unsafe { (&*opaque.cast::<Listener<'_>>(), slice::from_raw_parts(numbers, count)) };
    // Procedure, serial number, position, total.
    let percent = numbers[2].saturating_mul(100).checked_div(numbers[3]);
    listener.progress.update(listener.step, percent.and_then(|percent| u8::try_from(percent.min(100)).ok()));
}
