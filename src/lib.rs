//! staleproof
