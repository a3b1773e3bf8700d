//! The Redis store of staleproof.
