//! The demo's own corner of the file system.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::Result;

/// A private directory for the clip and the channel's socket, which goes when this is dropped.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
}

impl Place {
    /// Makes the directory.
    pub fn new() -> Result<Place> {
        let path = std::env::temp_dir().join(format!("xmem-demo-{}", std::process::id()));
        let make = |path: &Path| {
            DirBuilder::new()
                .mode(0o700)
                .create(path)
                .map_err(|error| format!("{} can't be made: {error}", path.display()))
        };
        make(&path)?;
        let place = Place { path };
        make(&place.runtime())?;
        Ok(place)
    }

    /// Where the channel's socket is: `$XMEM_RUNTIME_DIR` of the children.
    pub fn runtime(&self) -> PathBuf {
        self.path.join("runtime")
    }

    /// The file that the clip is in.
    pub fn clip(&self) -> PathBuf {
        self.path.join("clip.mkv")
    }

    /// What there is in the runtime directory.
    pub fn in_runtime(&self) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(self.runtime())?;
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Where the demo leaves its picture: `demo/frame.png` beside the program's own directory, which
/// is `target/demo/frame.png` in this tree. The file is there and empty.
pub fn picture() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).ok_or("no place for a picture")?;
    let directory = target.join("demo");
    let picture = directory.join("frame.png");
    std::fs::create_dir_all(&directory)
        .and_then(|()| File::create(&picture))
        .map_err(|error| format!("{} can't be written: {error}", picture.display()))?;
    Ok(picture)
}

/// A path as one would type it here.
pub fn from_here(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let short = path.strip_prefix(here).unwrap_or(path);
    short.display().to_string()
}
