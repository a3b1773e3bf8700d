//! The file as a disk keeps it, torn, wrong, full and shared.

use super::*;

fn items() -> Vec<Item> {
    let targets = [
        Target::Entry("page:7:1".to_owned()),
        Target::Node(String::new()),
        Target::Tag(Tag::new("owner:7")),
        Target::Glob("page:*".to_owned()),
        Target::All,
    ];
    let item = |target: &Target, holder| Item { target: target.clone(), holder };
    targets.iter().flat_map(|target| [item(target, None), item(target, Some(HolderId([0xff; 32])))]).collect()
}

fn written(items: &[Item]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        write(&mut bytes, item);
    }
    bytes
}

/// A file of the test's own.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        Self(std::env::temp_dir().join(test_support::unique("staleproof-journal")))
    }

    fn open(&self) -> (Arc<JournalFile>, Vec<Item>) {
        let (file, items) = JournalFile::open(&self.0, "shop").expect("the file can be used");
        (Arc::new(file), items)
    }

    /// What the next process would find.
    fn left(&self) -> Vec<Item> {
        let bytes = std::fs::read(&self.0).expect("the file is there");
        let header = bytes.iter().position(|byte| *byte == b'\n').expect("its first line is whole") + 1;
        read(&bytes[header..]).0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[test]
fn a_torn_tail_costs_only_itself_wherever_it_is_torn() {
    let (items, bytes) = (items(), written(&items()));
    let mut whole = 0;
    for cut in 0..=bytes.len() {
        let (found, length) = read(&bytes[..cut]);
        assert_eq!(found, items[..found.len()]);
        assert_eq!(length, written(&found).len());
        whole = found.len();
    }
    assert_eq!(whole, items.len());
}

#[test]
fn a_wrong_byte_ends_the_file_and_makes_up_nothing() {
    let (items, bytes) = (items(), written(&items()));
    for at in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[at] ^= 0x55;
        let (found, _) = read(&wrong);
        assert!(found.len() < items.len());
        assert_eq!(found, items[..found.len()], "at {at}");
    }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_crash_and_gone_after_it_was_acknowledged() {
    let place = Place::new();
    let (file, left) = place.open();
    assert_eq!(left, []);
    for item in items() {
        file.settle(file.enqueue(&[item])).await;
    }
    assert_eq!(place.left(), items());
    drop(file);
    // Interrupted within a record, and then used again.
    let mut bytes = std::fs::read(&place.0).unwrap();
    bytes.pop();
    std::fs::write(&place.0, &bytes).unwrap();
    let (file, left) = place.open();
    assert_eq!(left, items()[..9]);
    file.settle(file.enqueue(&items()[..1])).await;
    assert_eq!(place.left(), [&items()[..9], &items()[..1]].concat());
    file.clear(|| None::<()>).await;
    assert_eq!(place.left().len(), 10, "not all was acknowledged");
    file.enqueue(&items());
    file.clear(|| Some(())).await;
    assert_eq!(place.left(), []);
    file.settle(file.enqueue(&items()[..2])).await;
    assert_eq!(place.left(), items()[..2]);
    drop(file);
    assert!(JournalFile::open(&place.0, "other").is_err(), "another namespace");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_once_all_find_their_own_on_the_disk() {
    let place = Place::new();
    let (file, _) = place.open();
    let writers: Vec<_> = (0..64)
        .map(|n| {
            let (file, path) = (Arc::clone(&file), place.0.clone());
            tokio::spawn(async move {
                let item = Item { target: Target::Entry(format!("page:{n}")), holder: None };
                file.settle(file.enqueue(std::slice::from_ref(&item))).await;
                let bytes = std::fs::read(path).unwrap();
                let header = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
                assert!(read(&bytes[header..]).0.contains(&item));
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("each is there");
    }
}

#[tokio::test]
async fn a_disk_that_fails_is_survived_and_used_again() {
    let place = Place::new();
    let (file, _) = place.open();
    file.settle(file.enqueue(&items()[..1])).await;
    let good = {
        let mut disk = file.disk.lock().await;
        std::mem::replace(&mut disk.file, File::open(&place.0).unwrap())
    };
    file.settle(file.enqueue(&items()[1..2])).await;
    assert!(file.disk.lock().await.is_failing);
    file.disk.lock().await.file = good;
    file.settle(file.enqueue(&items()[2..3])).await;
    assert!(!file.disk.lock().await.is_failing);
    // What could not be written is covered: the log says that the file is good again.
    assert_eq!(place.left(), [items()[0].clone(), Item::ALL, items()[2].clone()]);
    file.clear(|| Some(())).await;
    file.settle(file.enqueue(&items()[3..4])).await;
    assert_eq!(place.left(), items()[3..4], "acknowledged since");
}

/// Two processes on one file wrote over each other's records, and emptied it for each other.
#[tokio::test]
async fn a_file_has_one_process_at_a_time() {
    let place = Place::new();
    let (file, _) = place.open();
    file.settle(file.enqueue(&items()[..2])).await;
    let error = JournalFile::open(&place.0, "shop").expect_err("it is in use");
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy, "{error}");
    drop(file);
    assert_eq!(place.open().1, items()[..2]);
}

#[tokio::test]
async fn a_file_that_grows_without_end_becomes_everything() {
    let place = Place::new();
    let (file, _) = place.open();
    let long = |n: usize| Item { target: Target::Entry(format!("{n}{}", "x".repeat(1 << 20))), holder: None };
    for n in 0..20 {
        file.enqueue(&[long(n)]);
    }
    file.settle(file.enqueue(&[long(20)])).await;
    let left = place.left();
    assert_eq!((left.len(), left.last()), (17, Some(&Item::ALL)));
}
