//! Why a call as a whole has failed, from why its VMs have.

use anyhow::{Error, anyhow};

use crate::core::error::{Refusal, UndoIncomplete};

/// The errors of a call's VMs as one; `stage` if there are none. It keeps their kind: a refusal where all of them are
/// refusals, an incomplete undo where one of them is.
pub(super) fn together(mut errors: Vec<Error>, stage: Error) -> Error {
    match errors.len() {
        0 => stage,
        1 => errors.swap_remove(0),
        _ if errors.iter().all(|error| error.is::<Refusal>()) => refusal(&errors).into(),
        _ => {
            let cause = anyhow!(lines(&errors).join("\n"));
            let left: Vec<Error> = errors
                .into_iter()
                .filter_map(|error| error.downcast::<UndoIncomplete>().ok())
                .flat_map(|undo| undo.left)
                .collect();
            if left.is_empty() { cause } else { UndoIncomplete::new(cause, left).into() }
        }
    }
}

/// What each has to say, once: all VMs of a call may fail for one reason.
fn lines(errors: &[Error]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::with_capacity(errors.len());
    for error in errors {
        let line =
            error.downcast_ref::<UndoIncomplete>().map_or_else(|| format!("{error:#}"), |undo| format!("{:#}", undo.cause));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

fn refusal(errors: &[Error]) -> Refusal {
    let mut all = Refusal { reasons: Vec::new(), advice: None };
    for refusal in errors.iter().filter_map(|error| error.downcast_ref::<Refusal>()) {
        let new: Vec<String> = refusal.reasons.iter().filter(|reason| !all.reasons.contains(reason)).cloned().collect();
        all.reasons.extend(new);
        all.advice = all.advice.or_else(|| refusal.advice.clone());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::error::exit_code;

    #[test]
    fn the_kind_of_a_failure_is_kept() {
        let refused = |reason: &str| Error::new(Refusal::new(reason).advise("wait")).context("reserving an address");
        let failed = || anyhow!("no space left");
        let undo = || Error::from(UndoIncomplete::new(failed(), vec![anyhow!("removing volume a: busy")]));
        let left = "no space left\nwhile undoing: removing volume a: busy\n`tpl prune` removes what stayed behind";
        let table = [
            (vec![], 1, "interrupted".to_owned()),
            (vec![refused("x is taken")], 3, "reserving an address: x is taken\nwait".to_owned()),
            (
                vec![refused("x is taken"), refused("y is taken"), refused("x is taken")],
                3,
                "x is taken\ny is taken\nwait".to_owned(),
            ),
            (vec![refused("x is taken"), failed()], 1, "reserving an address: x is taken\nwait\nno space left".to_owned()),
            (vec![failed(), failed()], 1, "no space left".to_owned()),
            (vec![undo()], 4, left.to_owned()),
            (vec![failed(), undo()], 4, left.to_owned()),
        ];
        for (errors, code, text) in table {
            let error = together(errors, anyhow!("interrupted"));
            assert_eq!((exit_code(&error), format!("{error:#}")), (code, text));
        }
    }
}
