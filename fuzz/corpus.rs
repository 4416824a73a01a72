//! Tests on the kept corpora: every file of a target, then random changes of these files.
//!
//! Each crate that has a function for a fuzz target includes this file in its tests (`#[path]`). So
//! an input that was found once is tried on every machine, without nightly Rust.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

/// Calls `entry` with every file that is kept for `target`, and with `cases` random inputs.
///
/// # Panics
/// If `entry` panics, after a search for the smallest input that makes it panic. If no file is
/// kept.
pub fn try_all(target: &str, cases: u32, entry: fn(&[u8])) {
    let kept: Arc<[Vec<u8>]> = kept(target)
        .into_iter()
        .map(|path| {
            let bytes = fs::read(&path).expect("a listed file can be read");
            // The test harness shows this line if the test fails.
            println!("{}", path.display());
            entry(&bytes);
            bytes
        })
        .collect();
    let config = Config {
        cases,
        // Inputs that were found belong in the corpus, so proptest stores none.
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&inputs(kept), |bytes| {
        entry(&bytes);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{target}: {error}");
    }
}

fn kept(target: &str) -> Vec<PathBuf> {
    let below = Path::new("fuzz/corpus").join(target);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|directory| directory.join(&below))
        .find(|corpus| corpus.is_dir())
        .unwrap_or_else(|| panic!("there is no {}", below.display()));
    let mut files: Vec<PathBuf> = fs::read_dir(corpus)
        .expect("an existing directory can be read")
        .map(|entry| entry.expect("a directory entry can be read").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", below.display());
    files
}

/// One change of an input.
#[derive(Clone, Debug)]
enum Edit {
    Set(u8),
    Insert(u8),
    Remove,
    Cut,
    /// Appends the tail of another input, from the same offset on.
    Splice(Index),
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        6 => any::<u8>().prop_map(Edit::Set),
        2 => any::<u8>().prop_map(Edit::Insert),
        2 => Just(Edit::Remove),
        1 => Just(Edit::Cut),
        2 => any::<Index>().prop_map(Edit::Splice),
    ]
}

fn inputs(kept: Arc<[Vec<u8>]>) -> impl Strategy<Value = Vec<u8>> {
    let changed = (any::<Index>(), vec((any::<Index>(), edits()), 1..6));
    let changed = changed.prop_map(move |(which, edits)| {
        let mut bytes = which.get(&kept).clone();
        for (at, edit) in edits {
            let at = at.index(bytes.len() + 1);
            match edit {
                Edit::Insert(byte) => bytes.insert(at, byte),
                Edit::Cut => bytes.truncate(at),
                Edit::Splice(other) => {
                    let other = other.get(&kept);
                    bytes.truncate(at);
                    bytes.extend(other.get(at..).unwrap_or_default());
                }
                Edit::Set(_) | Edit::Remove if at == bytes.len() => {}
                Edit::Set(byte) => bytes[at] = byte,
                Edit::Remove => drop(bytes.remove(at)),
            }
        }
        bytes
    });
    prop_oneof![1 => vec(any::<u8>(), 0..500), 5 => changed]
}
