//! Plain f64 loops.
