//! The attributes of staleproof.
