//! How long work tells how far it is. `ui` shows it; tests record it.

/// A listener for one stage's progress.
pub trait Progress: Sync {
    /// The stage now does `step`; `percent` of the whole stage is done, where that is known.
    fn update(&self, step: &str, percent: Option<u8>);
    /// Something the operator should read, once.
    fn note(&self, line: &str);
}

/// Listens to nothing.
pub struct Silent;

impl Progress for Silent {
    fn update(&self, _: &str, _: Option<u8>) {}
    fn note(&self, _: &str) {}
}

/// A part of a stage. What reports 0 to 100 % of itself counts for `from` to `to` of the whole, under one name.
pub struct Part<'a> {
    whole: &'a dyn Progress,
    name: &'a str,
    from: u8,
    to: u8,
}

impl<'a> Part<'a> {
    /// Begins a part, and says so.
    pub fn begin(whole: &'a dyn Progress, name: &'a str, from: u8, to: u8) -> Self {
        whole.update(name, Some(from));
        Self { whole, name, from, to }
    }
}

impl Progress for Part<'_> {
    fn update(&self, _: &str, percent: Option<u8>) {
        let inside = percent.map(|percent| u16::from(percent.min(100)) * u16::from(self.to.saturating_sub(self.from)) / 100);
        self.whole.update(self.name, inside.map(|inside| self.from.saturating_add(u8::try_from(inside).unwrap_or(0))));
    }

    fn note(&self, line: &str) {
        self.whole.note(line);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Recorder(Mutex<Vec<(String, Option<u8>)>>);

    impl Progress for Recorder {
        fn update(&self, step: &str, percent: Option<u8>) {
            self.0.lock().unwrap().push((step.to_owned(), percent));
        }
        fn note(&self, _: &str) {}
    }

    #[test]
    fn a_part_stays_within_its_share() {
        let recorder = Recorder(Mutex::default());
        let part = Part::begin(&recorder, "launching", 30, 80);
        for percent in [Some(0), Some(50), None, Some(100), Some(200)] {
            part.update("anything", percent);
        }
        let percents: Vec<_> = recorder.0.lock().unwrap().iter().map(|(step, percent)| (step == "launching", *percent)).collect();
        assert_eq!(percents, [Some(30), Some(30), Some(55), None, Some(80), Some(80)].map(|percent| (true, percent)));
    }
}
