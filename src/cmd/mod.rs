//! One file a verb: read arguments, gather facts, plan, act, report.

pub mod undo;
