//! Standard output and standard error, which may be gone.

use std::{
    fmt,
    io::{ErrorKind, Write as _},
    process::ExitCode,
    sync::OnceLock,
};

/// Why standard output takes no more.
static CLOSED: OnceLock<std::io::Error> = OnceLock::new();

/// Writes a line to standard output. Where that takes no more, what was asked for is done all the same, and [`verdict`] says so.
pub(crate) fn print(text: &str) {
    if is_closed() {
        return;
    }
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        // One is enough.
        drop(CLOSED.set(error));
    }
}

/// Prints JSON on one line.
pub(crate) fn print_json(value: &impl serde::Serialize) {
    print(&serde_json::to_string(value).expect("it is made of text and numbers"));
}

/// Writes a line to standard error, if there is one.
pub(crate) fn tell(text: impl fmt::Display) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Whether nobody gets what is printed.
pub(crate) fn is_closed() -> bool {
    CLOSED.get().is_some()
}

/// The exit code. Whoever reads may go away, as `head` does; a disk that is full is a failure.
pub(crate) fn verdict(code: ExitCode) -> ExitCode {
    match CLOSED.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            tell(format_args!("staleproof: standard output cannot be written: {error}"));
            ExitCode::from(3)
        }
        _ => code,
    }
}
