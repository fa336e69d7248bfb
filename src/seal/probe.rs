//! superblocks
