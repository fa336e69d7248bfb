//! The command line: clap derives, nothing else.
