//! The lines of one log: untrusted bytes, with the drawing of terminals in them.

use std::collections::VecDeque;

/// How many lines are kept for a report.
const TAIL: usize = 25;
/// A line longer than this is cut: an installer gone wild must not eat the memory.
const LONGEST: usize = 4096;

/// The lines of one log.
#[derive(Debug, Default)]
pub(super) struct Log {
    lines: VecDeque<String>,
    open: Vec<u8>,
}

impl Log {
    /// Takes bytes in; calls `each` with every line that ended.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for byte in bytes {
            if *byte == b'\n' {
                let line = clean(&self.open);
                self.open.clear();
                if !line.is_empty() {
                    each(&line);
                    self.lines.push_back(line);
                }
                if self.lines.len() > TAIL {
                    self.lines.pop_front();
                }
            } else if self.open.len() < LONGEST {
                self.open.push(*byte);
            }
        }
    }

    /// The line that has not ended yet.
    pub fn open(&self) -> String {
        clean(&self.open)
    }

    /// The last line of which something is to be seen, ended or not.
    pub fn last(&self) -> Option<String> {
        let open = if self.open.is_empty() { String::new() } else { self.open() };
        if self.open.is_empty() { self.lines.back().cloned() } else { Some(open) }
    }

    /// The last lines.
    pub fn tail(&self) -> Vec<String> {
        let open = self.open();
        self.lines.iter().cloned().chain((!open.is_empty()).then_some(open)).collect()
    }
}

/// A line without escape sequences, control characters and the status lines that terminal multiplexers draw.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            match chars.next() {
                Some('[') => {
                    while chars.next_if(|c| !c.is_ascii_alphabetic()).is_some() {}
                    chars.next();
                }
                // Which characters are drawn: one more follows.
                Some('(' | ')') => {
                    chars.next();
                }
                _ => {}
            }
        } else if !c.is_control() {
            plain.push(c);
        }
    }
    while let Some(range) = screen_line(&plain).or_else(|| tmux_line(&plain)) {
        plain.replace_range(range, "");
    }
    plain.trim().to_owned()
}

/// Where debian-installer's status line stands, with a clock: `[   (1*installer)  2 shell  4- log   ][ Nov 21  7:40 ]`.
fn screen_line(text: &str) -> Option<std::ops::Range<usize>> {
    let clock = text.find("][ ")?;
    let start = text[..clock].rfind("[   ")?;
    let end = text[clock + 1..].find(']')?;
    Some(start..clock + 1 + end + 1)
}

/// Where Anaconda's status line stands: `[anaconda]1:main* 2:shell  3:log  4:storage-log >Switch tab: Alt+Tab | Help: F1`.
fn tmux_line(text: &str) -> Option<std::ops::Range<usize>> {
    const END: &str = "Help: F1";
    let start = text.find("[anaconda]")?;
    let end = text[start..].find(END)?;
    Some(start..start + end + END.len())
}

/// The last percentage on a line: `Loading additional components  ... 25%... 50%` → 50.
pub(super) fn percentage(line: &str) -> Option<u8> {
    let (before, _) = line.rsplit_once('%')?;
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|percent| *percent <= 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_terminals_draw_is_left_out() {
        let table: [(&[u8], &str); 6] = [
            (b"\x1b[1;24r\x1b(Bplain\x1b[m\r", "plain"),
            (b"[   (1*installer)  2 shell  4- log   ][ Nov 21  7:40 ]Loading", "Loading"),
            (b"x[anaconda]1:main* 2:shell  3:log > Switch tab: Alt+Tab | Help: F1 y", "x y"),
            (b"[anaconda root@localhost ~]# ", "[anaconda root@localhost ~]#"),
            (b"\xff\x1b", "\u{fffd}"),
            (b"\x1b[", ""),
        ];
        for (bytes, text) in table {
            assert_eq!(clean(bytes), text);
        }
    }

    #[test]
    fn a_line_has_its_last_percentage() {
        for (line, percent) in [("a ... 25%... 50%", Some(50)), ("a", None), ("%", None), ("400%", None), ("999999%", None)] {
            assert_eq!(percentage(line), percent, "{line}");
        }
    }
}
