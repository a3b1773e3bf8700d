//! Why there is no local server.

use std::{io, path::PathBuf};

/// Why there is no local server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalError {
    #[error("the directory {} of the local server cannot be used: {source}", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error(
        "the directory {} is not private: it has to be a directory of this user with the mode 0700, and no link to one",
        .path.display()
    )]
    NotPrivate { path: PathBuf },
    #[error(
        "the directory {} cannot hold a socket: its path has to be Unicode and of {longest} bytes at most", .path.display()
    )]
    Path { path: PathBuf, longest: usize },
    #[error("the local server's thread cannot be started: {0}")]
    Thread(io::Error),
}
