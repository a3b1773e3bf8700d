//! The programs that are installed.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const SERVERS: [&str; 2] = ["redis-server", "valkey-server"];

/// What makes the kernel end a process when its parent has ended.
const TIED: [&str; 3] = ["--pdeathsig", "TERM", "--"];

/// A server, and what ties it to this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    server: PathBuf,
    setpriv: Option<PathBuf>,
}

impl Program {
    /// A server of the `PATH`. Blocks.
    pub(crate) fn find() -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let server = SERVERS.iter().find_map(|name| find_in(&path, name))?;
        let setpriv = find_in(&path, "setpriv").filter(|setpriv| can_tie(setpriv, &server));
        if setpriv.is_none() {
            tracing::debug!(
                "no setpriv that knows --pdeathsig: a server whose owner is killed runs until the next start"
            );
        }
        Some(Self { server, setpriv })
    }

    pub(crate) fn command(&self) -> Command {
        match &self.setpriv {
            Some(setpriv) => tied(setpriv, &self.server),
            None => Command::new(&self.server),
        }
    }

    pub(crate) fn server(&self) -> &Path {
        &self.server
    }
}

fn tied(setpriv: &Path, server: &Path) -> Command {
    let mut command = Command::new(setpriv);
    command.args(TIED).arg(server);
    command
}

/// Those of small systems lack the option.
fn can_tie(setpriv: &Path, server: &Path) -> bool {
    let mut command = tied(setpriv, server);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    cfg!(target_os = "linux") && command.status().is_ok_and(|status| status.success())
}

/// The first program of this name. Relative directories are left out: the server runs in another one.
fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    let is_program = |file: &PathBuf| {
        fs::metadata(file).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(name)).find(is_program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_in_absolute_directories_are_found() {
        assert_eq!(find_in(OsStr::new("/nowhere:/bin"), "sh"), Some("/bin/sh".into()));
        assert_eq!(find_in(OsStr::new("::.:bin:../../bin"), "sh"), None);
        assert_eq!(find_in(OsStr::new("/etc"), "passwd"), None, "it cannot be executed");
        assert_eq!(find_in(OsStr::new("/"), "bin"), None, "it is a directory");
        assert_eq!(find_in(OsStr::new(""), "sh"), None);
    }
}
