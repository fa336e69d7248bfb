//! The same work on many things at once, at most so many at a time.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
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
    fn what_threads_print_is_heard() {
        let (_, printed) = ui::captured(|| each(2, &mut ["a", "b"], |_, word| ui::note(word)));
        let mut lines: Vec<&str> = printed.notes.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["a", "b"]);
    }
}
