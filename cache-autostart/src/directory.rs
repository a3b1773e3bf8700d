//! The directory that instances share: the socket, the lock, the log, the settings.

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::{Pid, geteuid},
};

use crate::error::LocalError;

/// The names in the directory. The server runs in it and is given them as they are.
pub(crate) const SOCKET: &str = "server.sock";
pub(crate) const SETTINGS: &str = "server.conf";
const LOG: &str = "server.log";
const LOCK: &str = "lock";

/// The longest path of a socket on any system, with the zero at its end: 104 bytes.
const LONGEST: usize = 103 - SOCKET.len() - 1;

/// A log that is longer is begun anew.
const LARGEST_LOG: u64 = 1 << 20;

/// The directory that instances share.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes the directory if it is not there, and sees to it that nobody else can enter it.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, LocalError> {
        let path = path.map_or_else(default_path, Path::to_owned);
        let path = std::path::absolute(&path).map_err(|source| LocalError::Directory { path, source })?;
        if path.as_os_str().len() > LONGEST || path.to_str().is_none() {
            return Err(LocalError::Path { path, longest: LONGEST });
        }
        let directory = Self { path };
        directory.make()?;
        Ok(directory)
    }

    fn make(&self) -> Result<(), LocalError> {
        let failed = |source| LocalError::Directory { path: self.path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(failed)?;
        let about = fs::symlink_metadata(&self.path).map_err(failed)?;
        let is_for_one = (about.mode() & 0o777) | 0o700 == 0o700;
        if about.is_dir() && about.uid() == geteuid().as_raw() && is_for_one {
            return Ok(());
        }
        Err(LocalError::NotPrivate { path: self.path.clone() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// The socket as a URL.
    pub(crate) fn url(&self) -> String {
        use std::fmt::Write as _;

        let mut url = "redis+unix://".to_owned();
        for byte in self.socket().as_os_str().as_encoded_bytes() {
            match byte {
                b'/' | b'.' | b'-' | b'_' => url.push(char::from(*byte)),
                byte if byte.is_ascii_alphanumeric() => url.push(char::from(*byte)),
                byte => write!(url, "%{byte:02X}").expect("a string takes all"),
            }
        }
        url
    }

    /// Writes the server's settings.
    pub(crate) fn write_settings(&self, settings: &str) -> io::Result<()> {
        let mut file = private().truncate(true).open(self.path.join(SETTINGS))?;
        file.write_all(settings.as_bytes())
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// What the server writes its log to.
    pub(crate) fn log(&self) -> io::Result<File> {
        let path = self.log_path();
        let is_long = fs::metadata(&path).is_ok_and(|about| about.len() > LARGEST_LOG);
        let file = private().append(true).open(&path)?;
        if is_long {
            file.set_len(0)?;
        }
        Ok(file)
    }

    /// The lock, unless another instance has it.
    pub(crate) fn try_lock(&self) -> Result<Option<Lock>, LocalError> {
        // It may have been cleared away.
        self.make()?;
        let failed = |source| LocalError::Directory { path: self.path.clone(), source };
        let path = self.path.join(LOCK);
        let file = private().read(true).open(&path).map_err(failed)?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Lock { file, path })),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(failed(error.into())),
            }
        }
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

fn default_path() -> PathBuf {
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(path) => path.join("staleproof"),
        None => env::temp_dir().join(format!("staleproof-{}", geteuid().as_raw())),
    }
}

/// The right to run a server in the directory, until it is dropped or the process ends. The file has the id of the server's process.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// The process that was noted last.
    pub(crate) fn noted(&mut self) -> Option<Pid> {
        let mut text = String::new();
        self.file.rewind().ok()?;
        self.file.read_to_string(&mut text).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }

    /// Notes the server's process, or that there is none.
    pub(crate) fn note(&mut self, pid: Option<u32>) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        match pid {
            Some(pid) => writeln!(self.file, "{pid}"),
            None => Ok(()),
        }
    }

    /// Whether it still is the file that others would lock.
    pub(crate) fn is_in_place(&self) -> bool {
        let (Ok(own), Ok(there)) = (self.file.metadata(), fs::metadata(&self.path)) else { return false };
        (own.dev(), own.ino()) == (there.dev(), there.ino())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// Not there yet, and removed with all that is in it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            Self(env::temp_dir().join(format!("staleproof-{name}-{}", std::process::id())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn it_is_made_for_this_user_alone() {
        let scratch = Scratch::new("made");
        let directory = Directory::open(Some(&scratch.0.join("below"))).expect("it can be made");
        assert_eq!(fs::metadata(directory.path()).expect("it is there").mode() & 0o777, 0o700);
        directory.write_settings("port 0\n").expect("it can be written");
        assert_eq!(fs::metadata(directory.path().join(SETTINGS)).expect("it is there").mode() & 0o777, 0o600);
    }

    #[test]
    fn one_that_others_may_enter_is_refused() {
        let scratch = Scratch::new("open");
        fs::create_dir(&scratch.0).expect("it can be made");
        for mode in [0o750, 0o707, 0o701] {
            fs::set_permissions(&scratch.0, fs::Permissions::from_mode(mode)).expect("it is ours");
            let refused = Directory::open(Some(&scratch.0)).expect_err("others may enter").to_string();
            assert!(refused.contains("0700"), "{refused}");
        }
    }

    #[test]
    fn a_link_is_refused() {
        let scratch = Scratch::new("link");
        DirBuilder::new().recursive(true).mode(0o700).create(scratch.0.join("real")).expect("it can be made");
        symlink(scratch.0.join("real"), scratch.0.join("link")).expect("it can be made");
        assert!(Directory::open(Some(&scratch.0.join("real"))).is_ok());
        assert!(matches!(Directory::open(Some(&scratch.0.join("link"))), Err(LocalError::NotPrivate { .. })));
    }

    #[test]
    fn a_path_that_is_too_long_for_a_socket_is_refused() {
        let path = Path::new("/tmp").join("a".repeat(100));
        assert!(matches!(Directory::open(Some(&path)), Err(LocalError::Path { .. })));
    }

    #[test]
    fn what_is_special_in_urls_is_encoded() {
        let directory = Directory { path: "/run/a b?c#d%e".into() };
        assert_eq!(directory.url(), "redis+unix:///run/a%20b%3Fc%23d%25e/server.sock");
    }

    #[test]
    fn one_at_a_time_has_the_lock_and_the_next_one_reads_what_it_noted() {
        let scratch = Scratch::new("lock");
        let directory = Directory::open(Some(&scratch.0)).expect("it can be made");
        let mut first = directory.try_lock().expect("it can be locked").expect("nobody has it");
        assert_eq!(first.noted(), None);
        first.note(Some(123_456)).expect("it can be written");
        first.note(Some(77)).expect("it can be written");
        assert!(directory.try_lock().expect("it is there").is_none());
        drop(first);
        // A process that another test starts at this moment has it too, until it has become another program.
        let mut second = None;
        let is_free = || {
            second = directory.try_lock().expect("it can be locked");
            second.is_some()
        };
        assert!(crate::server::wait_until(std::time::Duration::from_secs(10), is_free), "nobody has it any more");
        let mut second = second.expect("it was locked");
        assert_eq!(second.noted(), Pid::from_raw(77));
        assert!(second.is_in_place());
        fs::remove_dir_all(&scratch.0).expect("it is ours");
        assert!(!second.is_in_place());
        let third = directory.try_lock().expect("it is made anew").expect("nobody has the new one");
        assert!(!second.is_in_place() && third.is_in_place());
    }
}
