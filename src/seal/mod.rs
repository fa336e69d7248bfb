//! Sealing a template: the table of operations, shrink, verify.
