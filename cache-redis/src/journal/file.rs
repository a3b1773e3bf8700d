//! The journal's copy on disk, so that a crash during an outage loses no invalidation.
//!
//! An invalidation is in the file, and the file on the disk, before `Journaled` is returned for it. What a process left
//! there is replayed by the next one, and the file is emptied when Redis has acknowledged all of it. Writers that come
//! in together share one `fsync`. A disk that fails or hangs is told as an error; the journal in memory goes on, and what
//! could not be written is "everything" in the file once that can be written again.
//!
//! Two processes would write over each other's records, so the file is locked for as long as one has it open.
//!
//! The file is a line that names format and namespace, then records: length and CRC-32 of the rest (little-endian), a
//! letter for the kind of target, `-` or `h` and the holder, and the target's text. A record that does not fit ends the
//! file: that is where the last writer was interrupted.

#[cfg(test)]
mod tests;

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cache_core::{Tag, Target, store::HolderId};

use super::Item;

/// How long an invalidation waits for the disk. Tests are about what is written, not how fast.
const PATIENCE: Duration = if cfg!(test) { Duration::from_secs(10) } else { Duration::from_millis(150) };

/// How long the process before this one may take to end.
#[cfg(unix)]
const HANDOVER: Duration = Duration::from_secs(1);

/// A file of this size becomes "everything".
const LARGEST: usize = 16 << 20;

/// The journal's copy on disk.
#[derive(Debug)]
pub(crate) struct JournalFile {
    path: PathBuf,
    queue: Mutex<Queue>,
    disk: Arc<tokio::sync::Mutex<Disk>>,
}

/// What is to be written.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// How many times something was queued.
    count: u64,
    /// How much was queued since the file was emptied.
    size: usize,
}

#[derive(Debug)]
struct Disk {
    file: File,
    /// Where the next record goes.
    end: u64,
    header: u64,
    /// Up to which count of the queue all is written, or was given up.
    written: u64,
    is_failing: bool,
    /// Something is not in the file that should be.
    has_lost: bool,
}

impl JournalFile {
    /// Opens the file and reads what a process before this one has left in it. Blocks.
    pub(crate) fn open(path: &Path, namespace: &str) -> io::Result<(Self, Vec<Item>)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        lock(&file)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let header = format!("staleproof journal 1 {}\n", namespace.escape_default()).into_bytes();
        let (items, end) = match bytes.strip_prefix(header.as_slice()) {
            Some(records) => {
                let (items, length) = read(records);
                (items, header.len() + length)
            }
            // Interrupted while it was made.
            None if header.starts_with(&bytes) => {
                file.set_len(0)?;
                file.rewind()?;
                file.write_all(&header)?;
                (Vec::new(), header.len())
            }
            None => return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a journal of this namespace")),
        };
        let (header, end) = (header.len() as u64, end as u64);
        file.set_len(end)?;
        file.sync_all()?;
        let disk = Disk { file, end, header, written: 0, is_failing: false, has_lost: false };
        let disk = Arc::new(tokio::sync::Mutex::new(disk));
        Ok((Self { path: path.to_owned(), queue: Mutex::default(), disk }, items))
    }

    /// Queues these, to be [settled](JournalFile::settle). Called under the gate's lock, so that the file has the
    /// order of the journal.
    pub(crate) fn enqueue(&self, items: &[Item]) -> u64 {
        let mut queue = self.queue();
        for item in items {
            if queue.size > LARGEST {
                break;
            }
            let start = queue.bytes.len();
            write(&mut queue.bytes, item);
            queue.size += queue.bytes.len() - start;
            if queue.size > LARGEST {
                write(&mut queue.bytes, &Item::ALL);
            }
        }
        queue.count += u64::from(!items.is_empty());
        queue.count
    }

    /// Returns when all that was queued up to this count is on the disk, or the disk has failed or hangs.
    pub(crate) async fn settle(self: &Arc<Self>, count: u64) {
        let own = Arc::clone(self);
        // In a task of its own: a caller that goes away leaves nothing half-written.
        let settling = tokio::spawn(async move { own.write_up_to(count).await });
        if tokio::time::timeout(PATIENCE, settling).await.is_err() {
            tracing::error!(path = %self.path.display(), "the disk of the journal hangs: a crash now may lose invalidations");
        }
    }

    /// Empties the file, if all in it is acknowledged: then `acknowledged` gives the lock under which items are queued.
    pub(crate) async fn clear<G>(&self, acknowledged: impl FnOnce() -> Option<G>) {
        let mut disk = Arc::clone(&self.disk).lock_owned().await;
        let count = {
            let Some(_gate) = acknowledged() else { return };
            let mut queue = self.queue();
            queue.bytes.clear();
            queue.size = 0;
            queue.count
        };
        let path = self.path.clone();
        let done = tokio::task::spawn_blocking(move || {
            disk.written = disk.written.max(count);
            if disk.end > disk.header || disk.is_failing {
                let result = disk.empty();
                disk.tell(&path, result);
            }
        });
        drop(done.await);
    }

    async fn write_up_to(self: Arc<Self>, count: u64) {
        let mut disk = Arc::clone(&self.disk).lock_owned().await;
        if disk.written >= count {
            return;
        }
        let done = tokio::task::spawn_blocking(move || {
            // Taken only here: a runtime that shuts down may never come to this, and the next one writes it then.
            let (bytes, count) = {
                let mut queue = self.queue();
                (std::mem::take(&mut queue.bytes), queue.count)
            };
            let result = disk.append(&bytes);
            disk.written = count;
            disk.tell(&self.path, result);
        });
        drop(done.await);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut records = Vec::new();
        if std::mem::replace(&mut self.has_lost, true) {
            write(&mut records, &Item::ALL);
        }
        records.extend(bytes);
        // From where the last whole record ends, whatever a write that failed has left there.
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&records)?;
        self.file.sync_data()?;
        self.end += records.len() as u64;
        self.has_lost = false;
        Ok(())
    }

    fn empty(&mut self) -> io::Result<()> {
        self.has_lost = false;
        self.file.set_len(self.header)?;
        self.end = self.header;
        self.file.sync_data()
    }

    /// Once per change.
    fn tell(&mut self, path: &Path, result: io::Result<()>) {
        match result {
            Ok(()) => self.is_failing = false,
            Err(error) if !self.is_failing => {
                tracing::error!(path = %path.display(), %error, "the journal cannot be written: a crash now may lose invalidations");
                self.is_failing = true;
            }
            Err(_) => {}
        }
    }
}

/// Makes the file this process's own until it is closed, which the end of the process does, too.
#[cfg(unix)]
fn lock(file: &File) -> io::Result<()> {
    use rustix::{
        fs::{FlockOperation, flock},
        io::Errno,
    };

    let until = std::time::Instant::now() + HANDOVER;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if std::time::Instant::now() >= until => {
                let why = "another instance is using it: each needs its own";
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
            }
            Err(Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(10)),
            // Some network file systems know no locks.
            Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK) | Ok(()) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "there are errors where there are locks")]
fn lock(_: &File) -> io::Result<()> {
    Ok(())
}

fn write(bytes: &mut Vec<u8>, item: &Item) {
    let start = bytes.len();
    bytes.extend([0; 8]);
    let (kind, text) = match &item.target {
        Target::Entry(path) => (b'e', path.as_str()),
        Target::Node(path) => (b'n', path.as_str()),
        Target::Tag(tag) => (b't', tag.as_str()),
        Target::Glob(glob) => (b'g', glob.as_str()),
        // A target of a kind that is newer than this store: everything is the safe reading.
        _ => (b'a', ""),
    };
    bytes.push(kind);
    match item.holder {
        Some(holder) => {
            bytes.push(b'h');
            bytes.extend(holder.0);
        }
        None => bytes.push(b'-'),
    }
    bytes.extend(text.as_bytes());
    let length = u32::try_from(bytes.len() - start - 8).expect("a target is shorter than 4 GiB");
    let checksum = crc32fast::hash(&bytes[start + 8..]);
    bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
    bytes[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// The records up to the first that does not fit, and where that begins.
fn read(bytes: &[u8]) -> (Vec<Item>, usize) {
    let (mut items, mut rest) = (Vec::new(), bytes);
    while let Some((item, after)) = read_one(rest) {
        items.push(item);
        rest = after;
    }
    (items, bytes.len() - rest.len())
}

fn read_one(bytes: &[u8]) -> Option<(Item, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    let (record, after) = rest.split_at_checked(u32::from_le_bytes(*length).try_into().ok()?)?;
    if crc32fast::hash(record) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (kind, rest) = record.split_first()?;
    let (holder, text) = match rest.split_first()? {
        (b'h', rest) => rest.split_first_chunk().map(|(holder, text)| (Some(HolderId(*holder)), text))?,
        (_, text) => (None, text),
    };
    let text = std::str::from_utf8(text).ok()?.to_owned();
    let target = match kind {
        b'e' => Target::Entry(text),
        b'n' => Target::Node(text),
        b't' => Target::Tag(Tag::from_encoded(text)),
        b'g' => Target::Glob(text),
        _ => Target::All,
    };
    Some((Item { target, holder }, after))
}
