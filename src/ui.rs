//! What people see: data on stdout, progress on stderr.
