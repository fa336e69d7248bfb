//! The same work on many things at once, at most so many at a time.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::ui;

/// Does `work` on each item, on at most `jobs` threads, and returns what came out, in the items' order. With one job
/// everything happens on the calling thread, one after the other.
pub fn each<T: Send, R: Send>(jobs: usize, items: &mut [T], work: impl Fn(usize, &mut T) -> R + Sync) -> Vec<R> {
    if jobs <= 1 || items.len() <= 1 {
        return items.iter_mut().enumerate().map(|(index, item)| work(index, item)).collect();
    }
    let next = AtomicUsize::new(0);
    let cells: Vec<Mutex<(Option<&mut T>, Option<R>)>> = items.iter_mut().map(|item| Mutex::new((Some(item), None))).collect();
    let listener = ui::inherit();
    thread::scope(|scope| {
        for _ in 0..jobs.min(cells.len()) {
            scope.spawn(|| {
                listener.adopt();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(cell) = cells.get(index) else { break };
                    // Each index is handed out once: the lock is never waited for.
                    let Ok(mut cell) = cell.lock() else { break };
                    let result = cell.0.take().map(|item| work(index, item));
                    cell.1 = result;
                }
            });
        }
    });
    cells.into_iter().filter_map(|cell| cell.into_inner().ok()?.1).collect()
}

/// Does `work` on all items at once, each on a thread of its own that is not waited for beyond the deadline. The answers are in the
/// items' order, whoever is first; none where there was none in time.
pub fn answers<T: Send + 'static, R: Send + 'static>(
    items: Vec<T>,
    deadline: Duration,
    work: impl Fn(T) -> R + Send + Sync + 'static,
) -> Vec<Option<R>> {
    let began = Instant::now();
    let mut found: Vec<Option<R>> = items.iter().map(|_| None).collect();
    let work = Arc::new(work);
    let (sender, receiver) = mpsc::channel();
    for (index, item) in items.into_iter().enumerate() {
        let (sender, work) = (sender.clone(), Arc::clone(&work));
        thread::spawn(move || {
            // Nobody listens any more once the deadline has passed.
            let _ = sender.send((index, work(item)));
        });
    }
    // Of the senders only the threads' are left: if one panics, nobody waits for it.
    drop(sender);
    while found.iter().any(Option::is_none) {
        let Ok((index, answer)) = receiver.recv_timeout(deadline.saturating_sub(began.elapsed())) else { break };
        found[index] = Some(answer);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_and_no_item_is_forgotten() {
        for jobs in [1, 3, 64] {
            let mut items: Vec<usize> = (0..50).collect();
            let squares = each(jobs, &mut items, |index, item| {
                *item += 1;
                (index, *item * *item)
            });
            assert_eq!(squares, (0..50).map(|n| (n, (n + 1) * (n + 1))).collect::<Vec<_>>(), "{jobs}");
            assert_eq!(items, (1..51).collect::<Vec<_>>());
        }
    }

    #[test]
    fn who_does_not_answer_in_time_is_not_waited_for() {
        let work = |number: u64| {
            assert_ne!(number, 2, "a thread that panics");
            thread::sleep(Duration::from_secs(60 * number));
            number
        };
        let began = Instant::now();
        assert_eq!(answers(vec![0, 1, 2, 0], Duration::from_millis(200), work), [Some(0), None, None, Some(0)]);
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_threads_print_is_heard() {
        let (_, printed) = ui::captured(|| each(2, &mut ["a", "b"], |_, word| ui::note(word)));
        let mut lines: Vec<&str> = printed.notes.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["a", "b"]);
    }
}
