//! The three outcomes that are not plain failures. Each has its exit code; `main` finds them in an error's chain.

use std::fmt;

/// Something that the operator wrote cannot be used: exit code 2. Carries every finding at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// What is wrong, in the order of the text.
    pub findings: Vec<Finding>,
}

/// One fault in what the operator wrote, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, as the operator would name it; none for an argument.
    pub file: Option<String>,
    /// Line and column, both from 1.
    pub at: Option<(usize, usize)>,
    /// What is wrong and, where it can be told, what would be right.
    pub message: String,
}

impl Invalid {
    /// A finding about an argument or a setting.
    pub fn argument(message: impl Into<String>) -> Self {
        Self { findings: vec![Finding { file: None, at: None, message: message.into() }] }
    }

    /// A finding at a place in a file.
    pub fn at(file: &str, line: usize, column: usize, message: impl Into<String>) -> Self {
        Self { findings: vec![Finding { file: Some(file.to_owned()), at: Some((line, column)), message: message.into() }] }
    }

    /// A finding about a whole file.
    pub fn file(file: &str, message: impl Into<String>) -> Self {
        Self { findings: vec![Finding { file: Some(file.to_owned()), at: None, message: message.into() }] }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let Some((line, column)) = self.at {
                write!(f, "{line}:{column}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(f, &self.findings)
    }
}

impl std::error::Error for Invalid {}

/// tpl could do it and will not: exit code 3. Nothing has been touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// All reasons at once.
    pub reasons: Vec<String>,
    /// What the operator can do about it.
    pub advice: Option<String>,
}

impl Refusal {
    /// A refusal for one reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], advice: None }
    }

    /// The same with a way out.
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(f, &self.reasons)?;
        match &self.advice {
            Some(advice) => write!(f, "\n{advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

/// It failed, and what had been done could not all be undone: exit code 4. Keeps both.
#[derive(Debug)]
pub struct UndoIncomplete {
    /// Why it failed.
    pub cause: anyhow::Error,
    /// What stayed behind, one error for each step that could not be undone.
    pub left: Vec<anyhow::Error>,
    advice: &'static str,
}

impl UndoIncomplete {
    /// What stayed behind carries tpl's metadata.
    pub fn new(cause: anyhow::Error, left: Vec<anyhow::Error>) -> Self {
        Self { cause, left, advice: "`tpl prune` removes what stayed behind" }
    }

    /// The same for what `tpl prune` knows nothing of.
    pub fn advise(self, advice: &'static str) -> Self {
        Self { advice, ..self }
    }
}

impl fmt::Display for UndoIncomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.cause)?;
        for error in &self.left {
            write!(f, "\nwhile undoing: {error:#}")?;
        }
        write!(f, "\n{}", self.advice)
    }
}

impl std::error::Error for UndoIncomplete {}

/// A connection broke in the middle of something: exit code 1. Nothing can be undone over it, and what has been done may be gone on
/// with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut(String);

impl Cut {
    /// A broken connection, and what was heard of it last.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection broke: {}", self.0)
    }
}

impl std::error::Error for Cut {}

/// A volume that could not be made may be there all the same. Stands in an error's chain: who has not noted down yet how to remove the
/// volume must do so for such an error, and only for such: after any other, a volume of this name is somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    volume: String,
    why: Option<String>,
}

impl LeftBehind {
    /// Nobody knows how its making has ended.
    pub fn perhaps(volume: &str) -> Self {
        Self { volume: volume.to_owned(), why: None }
    }

    /// It could not be removed again.
    pub fn surely(volume: &str, why: impl fmt::Display) -> Self {
        Self { volume: volume.to_owned(), why: Some(why.to_string()) }
    }
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Some(why) => write!(f, "volume {} stays behind: {why}", self.volume),
            None => write!(f, "volume {} may be there all the same", self.volume),
        }
    }
}

/// There is no storage pool of this name: exit code 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPool(pub String);

impl fmt::Display for NoPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool {} does not exist\n`tpl doctor` says how to make one", self.0)
    }
}

impl std::error::Error for NoPool {}

/// A failure with what the operator can do about it, as the last line.
#[derive(Debug)]
pub struct Advised {
    /// The failure.
    pub cause: anyhow::Error,
    advice: String,
}

impl Advised {
    /// Puts advice behind a failure.
    pub fn new(cause: anyhow::Error, advice: impl Into<String>) -> Self {
        Self { cause, advice: advice.into() }
    }
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}\n{}", self.cause, self.advice)
    }
}

impl std::error::Error for Advised {}

/// The exit code for an error: 1 failed · 2 usage · 3 refused · 4 failed, and the undo was incomplete.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(advised) = error.downcast_ref::<Advised>() {
        return exit_code(&advised.cause);
    }
    if error.downcast_ref::<Invalid>().is_some() {
        2
    } else if error.downcast_ref::<Refusal>().is_some() {
        3
    } else if error.downcast_ref::<UndoIncomplete>().is_some() {
        4
    } else {
        1
    }
}

fn lines<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str("\n")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_print_like_a_compiler() {
        let table = [
            (Invalid::argument("--count must be at least 1"), "--count must be at least 1"),
            (Invalid::file("a.toml", "no such file"), "a.toml: no such file"),
            (Invalid::at("a.toml", 3, 7, "unknown key"), "a.toml:3:7: unknown key"),
        ];
        for (error, text) in table {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn each_outcome_has_its_exit_code_also_below_context() {
        let failed = || anyhow::anyhow!("x");
        let incomplete = UndoIncomplete::new(failed(), Vec::new());
        let table = [
            (failed(), 1),
            (Invalid::argument("x").into(), 2),
            (anyhow::Error::new(Refusal::new("x")).context("building"), 3),
            (incomplete.into(), 4),
            (Advised::new(Refusal::new("x").into(), "y").into(), 3),
        ];
        for (error, code) in table {
            assert_eq!(exit_code(&error), code, "{error:#}");
        }
    }

    #[test]
    fn an_incomplete_undo_keeps_both_errors() {
        let error = UndoIncomplete::new(anyhow::anyhow!("no space left"), vec![anyhow::anyhow!("removing volume a: busy")]);
        assert_eq!(
            error.to_string(),
            "no space left\nwhile undoing: removing volume a: busy\n`tpl prune` removes what stayed behind"
        );
    }
}
