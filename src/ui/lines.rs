//! Many VMs at once: on a terminal one live line for each that is being worked on, as many as fit, and a line that counts the rest;
//! elsewhere a plain line for each step.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{is_live, note};

/// How often the clocks on the lines move.
const TICK: Duration = Duration::from_secs(1);

/// The lines of a terminal that are left to what stands above, and to the counts.
const SPARED: usize = 3;

/// The live lines that are being shown: whatever else is printed must not go through the middle of them.
static LIVE: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// How the work on one VM ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Well, after so long.
    Done(Duration),
    /// Not well: why.
    Failed(String),
    /// There was nothing to do, or it was not begun.
    Skipped,
}

/// What is shown of the work on many VMs. Threads share it.
pub struct Lines {
    title: String,
    started: Instant,
    board: Mutex<Board>,
    live: Option<Live>,
    /// Nothing is shown: somebody else shows the whole.
    hidden: bool,
}

/// The lines on a terminal.
struct Live {
    lines: MultiProgress,
    counts: ProgressBar,
    style: ProgressStyle,
}

/// How far each VM is.
struct Board {
    vms: Vec<Vm>,
}

struct Vm {
    name: String,
    state: State,
    began: Instant,
    line: Option<ProgressBar>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Waiting,
    At(String),
    Done,
    Failed,
    Skipped,
}

impl Lines {
    /// Begins to show the work on these VMs, which are called by their index from now on. No other live progress may be shown
    /// meanwhile; notes may be.
    pub fn begin(title: &str, names: &[String]) -> Self {
        let live = is_live().then(|| Live::begin(title, names));
        if live.is_none() {
            note(&format!("{title}: {}", counted(names.len())));
        }
        let vm = |name: &String| Vm { name: name.clone(), state: State::Waiting, began: Instant::now(), line: None };
        let board = Mutex::new(Board { vms: names.iter().map(vm).collect() });
        let lines = Self { title: title.to_owned(), started: Instant::now(), board, live, hidden: false };
        lines.refresh(&mut lines.board());
        lines
    }

    /// Shows nothing: for work that is a part of something that is shown as a whole.
    pub fn hidden() -> Self {
        let board = Mutex::new(Board { vms: Vec::new() });
        Self { title: String::new(), started: Instant::now(), board, live: None, hidden: true }
    }

    /// This VM is now at `stage`.
    pub fn set(&self, index: usize, stage: &str) {
        let mut board = self.board();
        let Some(vm) = board.vms.get_mut(index) else { return };
        let now = State::At(stage.to_owned());
        if vm.is_ended() || vm.state == now {
            return;
        }
        if vm.state == State::Waiting {
            vm.began = Instant::now();
        }
        vm.state = now;
        match &vm.line {
            Some(line) => line.set_message(stage.to_owned()),
            None if self.live.is_some() => self.refresh(&mut board),
            None => note(&format!("{}: {stage}", vm.name)),
        }
    }

    /// The work on this VM has ended.
    pub fn done(&self, index: usize, outcome: Outcome) {
        let mut board = self.board();
        let Some(vm) = board.vms.get_mut(index).filter(|vm| !vm.is_ended()) else { return };
        let line = vm.line.take();
        let name = &vm.name;
        let (state, said) = match outcome {
            Outcome::Done(time) => (State::Done, format!("{name}: done in {:.1} s", time.as_secs_f64())),
            Outcome::Failed(why) => (State::Failed, format!("{name}: failed: {}", why.trim_end().replace('\n', "; "))),
            Outcome::Skipped => (State::Skipped, format!("{name}: skipped")),
        };
        vm.state = state;
        if let (Some(live), Some(line)) = (&self.live, line) {
            live.lines.remove(&line);
        }
        note(&said);
        self.refresh(&mut board);
    }

    /// Ends the view, and says how it went.
    pub fn finish(self) {
        if self.hidden {
            return;
        }
        self.clear();
        let board = self.board();
        note(&format!("{}: {} in {:.1} s", self.title, board.counts(None), self.started.elapsed().as_secs_f64()));
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // A worker that panics has not broken what is shown.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives lines to VMs that have none while there is room, and counts.
    fn refresh(&self, board: &mut Board) {
        let Some(live) = &self.live else { return };
        let (rows, _) = Term::stderr().size();
        let room = usize::from(rows).saturating_sub(SPARED).max(1);
        for index in board.to_show(room) {
            // In the order of the VMs, whoever comes first.
            let below = board.vms[index..].iter().find_map(|vm| vm.line.as_ref()).unwrap_or(&live.counts);
            board.vms[index].line = Some(live.line(&board.vms[index], below));
        }
        live.counts.set_message(board.counts(Some(board.shown())));
    }

    fn clear(&self) {
        let Some(live) = &self.live else { return };
        for vm in &mut self.board().vms {
            if let Some(line) = vm.line.take() {
                live.lines.remove(&line);
            }
        }
        live.counts.finish_and_clear();
        // Erases what has been drawn last, whatever is removed.
        let _ = live.lines.clear();
        *LIVE.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // After a failure the error follows on a line of its own.
        self.clear();
    }
}

impl Live {
    fn begin(title: &str, names: &[String]) -> Self {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        *LIVE.lock().unwrap_or_else(PoisonError::into_inner) = Some(lines.clone());
        let style = |template: &str| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(40);
        let counts = lines.add(ProgressBar::new_spinner().with_style(style("{prefix}  {elapsed_precise}  {wide_msg}")));
        counts.set_prefix(title.to_owned());
        counts.enable_steady_tick(TICK);
        Self { lines, counts, style: style(&format!("  {{prefix:{width}}}  {{elapsed_precise}}  {{wide_msg}}")) }
    }

    /// A line for a VM, above another line.
    fn line(&self, vm: &Vm, below: &ProgressBar) -> ProgressBar {
        let line = ProgressBar::new_spinner().with_style(self.style.clone()).with_elapsed(vm.began.elapsed());
        let line = self.lines.insert_before(below, line);
        line.set_prefix(vm.name.clone());
        if let State::At(stage) = &vm.state {
            line.set_message(stage.clone());
        }
        line.enable_steady_tick(TICK);
        line
    }
}

impl Vm {
    fn is_ended(&self) -> bool {
        matches!(self.state, State::Done | State::Failed | State::Skipped)
    }
}

impl Board {
    /// How many VMs have a line.
    fn shown(&self) -> usize {
        self.vms.iter().filter(|vm| vm.line.is_some()).count()
    }

    /// The VMs that are worked on and may get a line, so that there are at most `room`.
    fn to_show(&self, room: usize) -> Vec<usize> {
        let free = room.saturating_sub(self.shown());
        let hidden = |vm: &Vm| matches!(vm.state, State::At(_)) && vm.line.is_none();
        (0..self.vms.len()).filter(|index| hidden(&self.vms[*index])).take(free).collect()
    }

    /// How many VMs are how far; with `shown`, how many are worked on and not shown.
    fn counts(&self, shown: Option<usize>) -> String {
        let count = |wanted: &dyn Fn(&State) -> bool| self.vms.iter().filter(|vm| wanted(&vm.state)).count();
        let at = count(&|state| matches!(state, State::At(_)));
        let done = count(&|state| *state == State::Done);
        let words = [
            (count(&|state| *state == State::Failed), "failed"),
            (count(&|state| *state == State::Skipped), "skipped"),
            (count(&|state| *state == State::Waiting), "waiting"),
            (shown.map_or(at, |shown| at.saturating_sub(shown)), if shown.is_some() { "more at work" } else { "not ended" }),
        ];
        let some = words.into_iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!(", {count} {word}"));
        format!("{done} of {} done{}", self.vms.len(), some.collect::<String>())
    }
}

fn counted(vms: usize) -> String {
    if vms == 1 { "1 VM".to_owned() } else { format!("{vms} VMs") }
}

/// Prints something while no live line is in the way.
pub(super) fn undisturbed<T>(print: impl FnOnce() -> T) -> T {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match live {
        Some(lines) => lines.suspend(print),
        None => print(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::{captured, inherit};

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("web{number}")).collect()
    }

    #[test]
    fn elsewhere_each_change_is_one_line() {
        let ((), heard) = captured(|| {
            let lines = Lines::begin("cloning", &names(4));
            for stage in ["disks", "disks", "start"] {
                lines.set(0, stage);
            }
            lines.set(1, "disks");
            lines.done(1, Outcome::Failed("no space left\ntry a larger pool\n".to_owned()));
            lines.done(0, Outcome::Done(Duration::from_millis(12_340)));
            // What has ended stays so, and what is not there is nothing.
            lines.set(0, "again");
            lines.done(0, Outcome::Skipped);
            lines.set(4, "disks");
            lines.done(4, Outcome::Skipped);
            lines.done(2, Outcome::Skipped);
        });
        assert_eq!(
            heard.notes,
            "cloning: 4 VMs\nweb1: disks\nweb1: start\nweb2: disks\nweb2: failed: no space left; try a larger pool\n\
             web1: done in 12.3 s\nweb3: skipped\n"
        );
        assert_eq!(heard.data, "");
    }

    #[test]
    fn the_end_says_how_it_went() {
        let ((), heard) = captured(|| {
            let lines = Lines::begin("cloning", &names(1));
            lines.done(0, Outcome::Skipped);
            lines.finish();
        });
        let (begin, time) = heard.notes.rsplit_once(" in ").unwrap();
        assert_eq!(begin, "cloning: 1 VM\nweb1: skipped\ncloning: 0 of 1 done, 1 skipped");
        assert!(time.trim_end().strip_suffix(" s").is_some_and(|seconds| seconds.parse::<f64>().is_ok()), "{time}");
    }

    #[test]
    fn workers_share_the_view() {
        let ((), heard) = captured(|| {
            let names = names(8);
            let (lines, listener) = (Lines::begin("cloning", &names), inherit());
            std::thread::scope(|scope| {
                for index in 0..8 {
                    let (lines, listener) = (&lines, &listener);
                    scope.spawn(move || {
                        listener.adopt();
                        lines.set(index, "disks");
                        lines.done(index, Outcome::Done(Duration::ZERO));
                    });
                }
            });
        });
        let mut said: Vec<&str> = heard.notes.lines().collect();
        said.sort_unstable();
        let mut expected = vec!["cloning: 8 VMs".to_owned()];
        expected.extend((1..=8).flat_map(|n| [format!("web{n}: disks"), format!("web{n}: done in 0.0 s")]));
        expected.sort();
        assert_eq!(said, expected);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let at = || State::At("disks".to_owned());
        let states = [State::Done, at(), at(), State::Waiting, at(), State::Failed, State::Skipped, State::Waiting];
        let vm = |state: State| Vm { name: "web".to_owned(), state, began: Instant::now(), line: None };
        let mut board = Board { vms: states.into_iter().map(vm).collect() };
        assert_eq!(board.to_show(2), [1, 2]);
        assert_eq!(board.counts(Some(2)), "1 of 8 done, 1 failed, 1 skipped, 2 waiting, 1 more at work");
        assert_eq!(board.counts(None), "1 of 8 done, 1 failed, 1 skipped, 2 waiting, 3 not ended");
        board.vms[1].line = Some(ProgressBar::hidden());
        assert_eq!((board.shown(), board.to_show(2), board.to_show(9)), (1, vec![2], vec![2, 4]));
        assert_eq!(board.to_show(1), Vec::<usize>::new());
        assert_eq!(Board { vms: Vec::new() }.counts(None), "0 of 0 done");
    }
}
